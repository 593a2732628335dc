# What `make repro` and `make test` need, except the checkout, which is mounted: see
# docs/development.md.
FROM python:3.11-slim-bookworm

# The browser is that of the tests, and the library that of the driver that Playwright brings.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends chromium git libatomic1 make \
    && rm -rf /var/lib/apt/lists/*

# What is written into the checkout belongs to its owner, root included, whose number is taken.
ARG UID=1000
RUN useradd --create-home --no-log-init --non-unique --uid "$UID" user
USER user

# At home, which a development container hands to whoever owns the checkout.
ENV VENV=/home/user/venv
ENV PATH=$VENV/bin:$PATH
WORKDIR /checkout
COPY Makefile requirements.lock ./
COPY tools/setup.py tools/
# Neither pip nor uv keeps a cache in the image.
RUN PIP_NO_CACHE_DIR=1 make setup

CMD ["make", "repro", "test"]
