# The demo's job board, for compose.yaml only.

FROM python:3.13-slim
COPY . /source
RUN pip install --no-cache-dir "/source[demo]" && rm -rf /source && useradd --uid 65532 --no-create-home demo
# The application is a folder of the package and runs from there, as in `make demo`.
RUN ln -s "$(python -c 'import otel_ratelimit; print(otel_ratelimit.__path__[0])')/demo" /demo
WORKDIR /demo
USER 65532:65532
EXPOSE 8000
CMD ["opentelemetry-instrument", "gunicorn", "jobs_app.app:app", "--bind=0.0.0.0:8000", "--workers=2", "--threads=8", "--worker-tmp-dir=/tmp"]
