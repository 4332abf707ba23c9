-- One text for SQLite and PostgreSQL. Times are milliseconds since the epoch, ids and JSON are TEXT, booleans are 0 or 1,
-- money is in millionths. No foreign keys: every write is guarded by the rows it names, and history outlives its subjects.

CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE orgs (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    plan TEXT NOT NULL,
    jobs_limit BIGINT,
    tokens_limit BIGINT,
    created_at BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    org TEXT NOT NULL,
    name TEXT NOT NULL,
    mode TEXT NOT NULL,
    prefix TEXT NOT NULL UNIQUE,
    hash TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_used_at BIGINT,
    revoked_at BIGINT
);
CREATE INDEX api_keys_org ON api_keys (org, id);

-- What a month of an organisation has accepted, holds, and has billed.
CREATE TABLE periods (
    org TEXT NOT NULL,
    period TEXT NOT NULL,
    created BIGINT NOT NULL,
    reserved_jobs BIGINT NOT NULL,
    used_jobs BIGINT NOT NULL,
    reserved_tokens BIGINT NOT NULL,
    used_tokens BIGINT NOT NULL,
    repairs BIGINT NOT NULL,
    PRIMARY KEY (org, period)
);

-- `input` is NULL when it stands in job_inputs (large) or was erased; a row is rewritten some five times in its life, and a
-- large text must not be rewritten with it.
CREATE TABLE jobs (
    id TEXT NOT NULL PRIMARY KEY,
    org TEXT NOT NULL,
    state TEXT NOT NULL,
    gen BIGINT NOT NULL,
    run BIGINT NOT NULL,
    made BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    max_attempts BIGINT NOT NULL,
    queued_gen BIGINT NOT NULL,
    lost BIGINT NOT NULL,
    cancel_at BIGINT,
    next_at BIGINT,
    holder TEXT,
    updated_at BIGINT NOT NULL,
    period TEXT NOT NULL,
    reserved BIGINT NOT NULL,
    job_type TEXT NOT NULL,
    priority BIGINT NOT NULL,
    progress BIGINT NOT NULL,
    run_at BIGINT,
    timeout BIGINT,
    start_before BIGINT,
    provider_wish TEXT,
    webhook_url TEXT,
    traceparent TEXT,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    completed_at BIGINT,
    error_code TEXT,
    error_message TEXT,
    error_retryable BIGINT,
    input_tokens BIGINT,
    output_tokens BIGINT,
    provider TEXT,
    model TEXT,
    cost_micros BIGINT,
    metadata TEXT NOT NULL,
    input TEXT,
    output TEXT
);
-- A row has not ended exactly while completed_at IS NULL. The partial indexes say it so because the guards of updates speak of
-- `state`: a guard that implied an index's condition would invite PostgreSQL to walk that index instead of seeking ids.
CREATE INDEX jobs_org ON jobs (org, id);
CREATE INDEX jobs_open ON jobs (org, id) WHERE completed_at IS NULL;
CREATE INDEX jobs_failed ON jobs (org, state, id) WHERE state IN ('FAILED', 'CANCELED');
CREATE INDEX jobs_undispatched ON jobs (id) WHERE queued_gen < gen;
CREATE INDEX jobs_told ON jobs (holder, id) WHERE cancel_at IS NOT NULL AND state = 'PROCESSING';

CREATE TABLE job_inputs (
    job TEXT NOT NULL PRIMARY KEY,
    input TEXT NOT NULL
);

-- What was billed: one row for a run at most.
CREATE TABLE usage (
    job TEXT NOT NULL,
    gen BIGINT NOT NULL,
    run BIGINT NOT NULL,
    org TEXT NOT NULL,
    period TEXT NOT NULL,
    job_type TEXT NOT NULL,
    jobs BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cost_micros BIGINT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (job, gen, run)
);
CREATE INDEX usage_period ON usage (org, period, jobs, input_tokens, output_tokens);

-- `status` is NULL while the first request with this key is being worked on.
CREATE TABLE idempotency (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status BIGINT,
    location TEXT,
    body TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_expires ON idempotency (expires_at);

CREATE TABLE endpoints (
    id TEXT NOT NULL PRIMARY KEY,
    org TEXT NOT NULL,
    url TEXT NOT NULL,
    events TEXT NOT NULL,
    description TEXT NOT NULL,
    policy TEXT NOT NULL,
    secret TEXT NOT NULL,
    enabled BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX endpoints_org ON endpoints (org, id);

CREATE TABLE events (
    id TEXT NOT NULL PRIMARY KEY,
    org TEXT NOT NULL,
    event_type TEXT NOT NULL,
    job TEXT,
    data TEXT NOT NULL,
    at BIGINT NOT NULL
);

-- The protocol's columns are those of jobs.
CREATE TABLE deliveries (
    id TEXT NOT NULL PRIMARY KEY,
    org TEXT NOT NULL,
    state TEXT NOT NULL,
    gen BIGINT NOT NULL,
    run BIGINT NOT NULL,
    made BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    max_attempts BIGINT NOT NULL,
    queued_gen BIGINT NOT NULL,
    lost BIGINT NOT NULL,
    cancel_at BIGINT,
    next_at BIGINT,
    holder TEXT,
    updated_at BIGINT NOT NULL,
    event TEXT NOT NULL,
    event_type TEXT NOT NULL,
    endpoint TEXT,
    url TEXT,
    progress BIGINT NOT NULL,
    start_before BIGINT,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    completed_at BIGINT,
    error_code TEXT,
    error_message TEXT,
    error_retryable BIGINT,
    output TEXT
);
CREATE INDEX deliveries_open ON deliveries (org, id) WHERE completed_at IS NULL;
CREATE INDEX deliveries_undispatched ON deliveries (id) WHERE queued_gen < gen;
CREATE INDEX deliveries_event ON deliveries (event, id);
CREATE INDEX deliveries_endpoint ON deliveries (endpoint, id);

CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    until BIGINT NOT NULL
);

CREATE TABLE audit (
    id TEXT NOT NULL PRIMARY KEY,
    org TEXT,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    target TEXT NOT NULL,
    from_where TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX audit_org ON audit (org, id);
