# Two images. `server`, which is built unless another target is named: migrations, API, command line, without torch.
# `worker`: the same with the trainer, for builds; TORCH_ARGS says which torch, as in the Makefile.
# The database is a container of its own.
FROM python:3.11-slim AS base
RUN groupadd --system --gid 10001 sensedict \
 && useradd --system --uid 10001 --gid sensedict --home-dir /var/lib/sensedict --shell /usr/sbin/nologin sensedict \
 && install -d -o sensedict -g sensedict /var/lib/sensedict /secrets/owner /secrets/service /secrets/monitoring \
 && python -m venv /opt/sensedict
ENV PATH=/opt/sensedict/bin:$PATH PYTHONUNBUFFERED=1 SENSEDICT_HOME=/var/lib/sensedict PIP_NO_CACHE_DIR=1
# Others' packages in layers of their own: a change of our source downloads nothing.
COPY constraints.txt pyproject.toml /needs/
RUN python -c "import tomllib; p = tomllib.load(open('/needs/pyproject.toml', 'rb'))['project']; \
      x = p['optional-dependencies']; server = p['dependencies'] + x['server']; \
      [open(f'/needs/{n}.txt', 'w').write('\n'.join(r)) for n, r in (('server', server), ('trainer', x['trainer']))]" \
 && pip install --constraint /needs/constraints.txt --requirement /needs/server.txt

FROM base AS worker
ARG TORCH_ARGS=
RUN pip install --constraint /needs/constraints.txt $TORCH_ARGS torch \
 && pip install --constraint /needs/constraints.txt --requirement /needs/trainer.txt
RUN --mount=type=bind,target=/src,rw pip install --no-deps /src
USER sensedict
VOLUME /var/lib/sensedict
CMD ["sensedict", "worker"]

FROM base AS server
RUN --mount=type=bind,target=/src,rw pip install --no-deps /src
COPY --chmod=0755 deploy/make-secrets /usr/local/bin/
USER sensedict
VOLUME /var/lib/sensedict
EXPOSE 8000
# It writes nothing but /var/lib/sensedict and /tmp: `docker run --read-only --tmpfs /tmp` will do. Others than this
# container reach it, so it wants a key: SENSEDICT_ADMIN_KEY_FILE, or one that `sensedict keys create` made.
CMD ["sensedict", "serve", "--host", "0.0.0.0", "--port", "8000"]
