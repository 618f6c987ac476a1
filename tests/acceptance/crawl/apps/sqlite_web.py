"""sqlite-web: a complete application, a browser of SQLite files."""

REQUIREMENTS = ("sqlite-web",)
REQUESTS = (
    ("POST", "/create-table/", {"data": {"table_name": "made"}}),
    ("GET", "/notes/", {}),
    ("GET", "/notes/content/", {}),
    ("GET", "/notes/query/?sql=select%201", {}),
    ("POST", "/notes/query/", {"data": {"sql": "select * from notes"}}),
    ("POST", "/notes/query/", {"data": {"sql": "select * from notes", "export_json": "1"}}),
    ("POST", "/notes/add-column/", {"data": {"name": "more", "type": "TEXT"}}),
    ("GET", "/notes/export/", {}),
    ("GET", "/nothing/", {}),
)


def make_app():
    import sqlite3
    from pathlib import Path

    from sqlite_web import sqlite_web

    with sqlite3.connect("notes.db") as connection:
        connection.executescript(
            "create table notes (id integer primary key, text); insert into notes values (1, 'x')"
        )
    sqlite_web.app.config["SECRET_KEY"] = "not a secret"
    sqlite_web.initialize_app([str(Path("notes.db").resolve())])
    return sqlite_web.app
