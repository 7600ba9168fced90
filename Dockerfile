# The service without torch: migrations, API, command line. The database is its own container.
# A worker needs the teacher: --build-arg EXTRAS=server,trainer, and what TORCH_ARGS says in the Makefile, which chooses
# between torch for CPUs and for CUDA.
FROM python:3.11-slim AS build
ARG EXTRAS=server
ARG TORCH_ARGS=
COPY constraints.txt pyproject.toml README.md /src/
COPY client /src/client
COPY server /src/server
COPY trainer /src/trainer
COPY migrations /src/migrations
RUN python -m venv /opt/sensedict \
 && case ",$EXTRAS," in *,trainer,*) \
      /opt/sensedict/bin/pip install --no-cache-dir --constraint /src/constraints.txt $TORCH_ARGS torch ;; esac \
 && /opt/sensedict/bin/pip install --no-cache-dir --constraint /src/constraints.txt "/src[$EXTRAS]"

FROM python:3.11-slim
RUN groupadd --system --gid 10001 sensedict \
 && useradd --system --uid 10001 --gid sensedict --home-dir /var/lib/sensedict --shell /usr/sbin/nologin sensedict \
 && install -d -o sensedict -g sensedict /var/lib/sensedict
COPY --from=build /opt/sensedict /opt/sensedict
ENV PATH=/opt/sensedict/bin:$PATH PYTHONUNBUFFERED=1 SENSEDICT_HOME=/var/lib/sensedict
USER sensedict
VOLUME /var/lib/sensedict
EXPOSE 8000
# It writes nothing but /var/lib/sensedict and /tmp: `docker run --read-only --tmpfs /tmp` will do. Others than this
# container reach it, so it wants a key: SENSEDICT_ADMIN_KEY_FILE, or one that `sensedict keys create` made.
CMD ["sensedict", "serve", "--host", "0.0.0.0", "--port", "8000"]
