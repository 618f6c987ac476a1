"""A job board with applications, documents and text analysis: Flask on PostgreSQL."""
