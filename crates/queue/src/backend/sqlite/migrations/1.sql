-- Jobs, their order, their events. Times are milliseconds since the epoch.

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- One row per queue: what a transaction needs to know of it, so that nothing is ever counted.
CREATE TABLE queues (
    q INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    gone INTEGER NOT NULL DEFAULT 0,        -- removed; the row stays, since positions of its events go on
    paused INTEGER NOT NULL DEFAULT 0,
    concurrency INTEGER,            -- NULL: no limit
    rate_max INTEGER,               -- starts in rate_per milliseconds; NULL: no limit of the queue's own
    rate_per INTEGER,
    used INTEGER NOT NULL DEFAULT 0,        -- starts in the window that began at window_start
    window_start INTEGER NOT NULL DEFAULT 0,
    hold_until INTEGER NOT NULL DEFAULT 0,
    grouped INTEGER NOT NULL DEFAULT 0,     -- any job of it has ever belonged to a group: see `fairs`
    next_id INTEGER NOT NULL DEFAULT 0,
    tail INTEGER NOT NULL DEFAULT 0,
    head INTEGER NOT NULL DEFAULT 0,
    waiting INTEGER NOT NULL DEFAULT 0,
    prioritized INTEGER NOT NULL DEFAULT 0,
    delayed INTEGER NOT NULL DEFAULT 0,
    active INTEGER NOT NULL DEFAULT 0,
    waiting_children INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    event_seq INTEGER NOT NULL DEFAULT 0,
    event_last INTEGER NOT NULL DEFAULT 0,
    events_kept INTEGER NOT NULL DEFAULT 0,
    trimmed_seq INTEGER NOT NULL DEFAULT 0,
    trimmed_last INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The hot row. (k1, k2) is the order within the place: see `Place` in state.rs.
CREATE TABLE jobs (
    row INTEGER PRIMARY KEY,
    q INTEGER NOT NULL,
    id TEXT NOT NULL,
    place INTEGER NOT NULL,
    k1 INTEGER NOT NULL,
    k2 INTEGER NOT NULL,
    name TEXT NOT NULL,
    data TEXT,                      -- NULL: in bodies
    opts TEXT NOT NULL,             -- '': the defaults
    priority INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    created INTEGER NOT NULL,
    since INTEGER NOT NULL,
    made INTEGER NOT NULL DEFAULT 0,
    started INTEGER NOT NULL DEFAULT 0,
    stalls INTEGER NOT NULL DEFAULT 0,
    token TEXT,                     -- the lock, while active
    settled TEXT,                   -- the take whose run was ended last: a repeated verdict is recognised
    worker TEXT,
    processed_on INTEGER,
    finished_on INTEGER
) STRICT;
CREATE UNIQUE INDEX jobs_id ON jobs (q, id);
CREATE INDEX jobs_order ON jobs (q, place, k1, k2);

-- What would make the hot row large.
CREATE TABLE bodies (row INTEGER PRIMARY KEY, data TEXT NOT NULL) STRICT;
CREATE TABLE sides (row INTEGER PRIMARY KEY, progress TEXT, result TEXT, failure TEXT) STRICT;
CREATE TABLE logs (row INTEGER NOT NULL, n INTEGER NOT NULL, line TEXT NOT NULL, PRIMARY KEY (row, n)) STRICT, WITHOUT ROWID;

-- Who owns a deduplication id, until when (NULL: until its end).
CREATE TABLE dedups (
    q INTEGER NOT NULL, id TEXT NOT NULL, job TEXT NOT NULL, until INTEGER, PRIMARY KEY (q, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX dedups_until ON dedups (q, until) WHERE until IS NOT NULL;
-- The last job that came while the owner of its deduplication id, `owner`, was active.
CREATE TABLE lasts (
    q INTEGER NOT NULL, owner TEXT NOT NULL,
    job TEXT NOT NULL, name TEXT NOT NULL, data TEXT NOT NULL, opts TEXT NOT NULL, PRIMARY KEY (q, owner)
) STRICT, WITHOUT ROWID;
CREATE INDEX lasts_job ON lasts (q, job);

-- Whose turn it is among the groups of a queue: see backend/groups.rs.
CREATE TABLE fairs (
    q INTEGER PRIMARY KEY,
    time INTEGER NOT NULL DEFAULT 0,        -- virtual
    number INTEGER NOT NULL DEFAULT 0,      -- that was given last
    groups INTEGER NOT NULL DEFAULT 0,
    behind INTEGER NOT NULL DEFAULT 0,      -- ready jobs that are not heads
    due INTEGER,                            -- no group that has jobs is due before
    unseen INTEGER,                         -- groups with larger numbers are still to be looked at
    concurrency INTEGER, rate_max INTEGER, rate_per INTEGER     -- for groups without their own
) STRICT;
CREATE TABLE groups (
    q INTEGER NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL,
    weight INTEGER NOT NULL, paused INTEGER NOT NULL, concurrency INTEGER, rate_max INTEGER, rate_per INTEGER,
    used INTEGER NOT NULL, window_start INTEGER NOT NULL, hold_until INTEGER NOT NULL,
    last INTEGER NOT NULL,                  -- virtual time of its head, or of the one before
    waiting INTEGER NOT NULL, active INTEGER NOT NULL, head INTEGER NOT NULL,
    idle INTEGER NOT NULL,                  -- nothing waiting, nothing active
    due INTEGER,                            -- when it may start something, or when it may be forgotten
    PRIMARY KEY (q, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX groups_id ON groups (q, id);
CREATE INDEX groups_due ON groups (q, idle, due) WHERE due IS NOT NULL;

-- Job schedulers: where each stands (NULL: it makes no more jobs), the jobs it has made, its definition and payload.
CREATE TABLE repeats (
    q INTEGER NOT NULL, id TEXT NOT NULL, slot INTEGER, made INTEGER NOT NULL, def TEXT NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (q, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX repeats_slot ON repeats (q, slot, id) WHERE slot IS NOT NULL;
-- What became of the slots of a scheduler; several that were left out one after the other are one row.
CREATE TABLE ticks (
    q INTEGER NOT NULL, id TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, count INTEGER NOT NULL,
    fate TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (q, id, first)
) STRICT, WITHOUT ROWID;

-- Shared budgets that are not full: when they will be, in nanoseconds since the epoch, and when that was written.
CREATE TABLE budgets (key TEXT PRIMARY KEY, full_at INTEGER NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX budgets_full ON budgets (full_at);

-- pos = q · 2^40 + seq; one row holds up to 512 events of one transaction.
CREATE TABLE events (pos INTEGER PRIMARY KEY, n INTEGER NOT NULL, packed TEXT NOT NULL) STRICT;

-- What was done in a minute, counted since the epoch; times as histograms.
CREATE TABLE minutes (
    q INTEGER NOT NULL, minute INTEGER NOT NULL, completed INTEGER NOT NULL, failed INTEGER NOT NULL,
    wait TEXT NOT NULL, run TEXT NOT NULL, PRIMARY KEY (q, minute)
) STRICT, WITHOUT ROWID;

CREATE TABLE workers (
    q INTEGER NOT NULL, id TEXT NOT NULL, seen INTEGER NOT NULL, info TEXT NOT NULL, PRIMARY KEY (q, id)
) STRICT, WITHOUT ROWID;

-- A job that has children, or had them when it was removed (row is NULL): its name, how many children there are and how many
-- of them are pending, the last number given, and why it is to fail. Numbers are never used again.
CREATE TABLE families (
    f INTEGER PRIMARY KEY AUTOINCREMENT, row INTEGER, q INTEGER NOT NULL, id TEXT NOT NULL,
    total INTEGER NOT NULL DEFAULT 0, pending INTEGER NOT NULL DEFAULT 0, last INTEGER NOT NULL DEFAULT 0, doom TEXT
) STRICT;
CREATE UNIQUE INDEX families_row ON families (row) WHERE row IS NOT NULL;
CREATE INDEX families_left ON families (f) WHERE row IS NULL;
-- What a family knows of its n-th child; mark and policy: see `Mark` and `POLICIES` in flow.rs. value: a result, or a reason.
CREATE TABLE children (
    f INTEGER NOT NULL, n INTEGER NOT NULL, q INTEGER NOT NULL, id TEXT NOT NULL,
    mark INTEGER NOT NULL, policy INTEGER NOT NULL, value TEXT
) STRICT;
CREATE UNIQUE INDEX children_of ON children (f, n);
CREATE INDEX children_pending ON children (f, mark, n) WHERE mark < 2;
-- The family in which a job is a child, by the job's row.
CREATE TABLE links (row INTEGER PRIMARY KEY, f INTEGER NOT NULL, n INTEGER NOT NULL, policy INTEGER NOT NULL) STRICT;
