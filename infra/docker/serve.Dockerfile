# syntax=docker/dockerfile:1
# One registered version as a server that asks nothing of the network when it runs. The context is
# the version itself, which brings its weights, its code and the list of what it needs:
#   mlflow artifacts download -u models:/k3dn@champion -d champion
#   docker build -f infra/docker/serve.Dockerfile -t k3dn-serve champion
#   docker run --rm --network none --memory 4g k3dn-serve    # or -p 127.0.0.1:8080:8080

FROM python:3.11.14-slim-bookworm
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    UV_SYSTEM_PYTHON=1 \
    UV_NO_CACHE=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT=600
RUN pip install --no-cache-dir uv==0.13.9 \
    && groupadd --gid 1000 k3dn \
    && useradd --uid 1000 --gid 1000 --create-home k3dn
# What the version needs, in a layer of its own: another version of the same needs fetches nothing.
COPY requirements.txt /tmp/requirements.txt
RUN uv pip install --torch-backend cpu --requirements /tmp/requirements.txt
COPY --chown=1000:1000 . /model
USER 1000:1000
WORKDIR /home/k3dn
EXPOSE 8080
# One process: the network uses all cores for one picture, and each process holds its own memory.
CMD ["mlflow", "models", "serve", "--model-uri", "/model", "--env-manager", "local", \
     "--host", "0.0.0.0", "--port", "8080", "--workers", "1"]
