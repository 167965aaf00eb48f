-- A node's database: one per mesh it has joined. Only the writer task changes it.
-- Times are milliseconds since the Unix epoch on this node's clock, unless a column says otherwise.

-- Facts there is one of.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,      -- what it is: broker (URL), state_keys, invite_key (encrypted), cursor (last place
                                 -- given to a message or event), forgotten (last event no longer kept), store (life of
                                 -- the broker's), mark (the newest it gave), pass (the mesh's there, encrypted),
                                 -- login (number of the last), through (its last delivery settled), linked (1 while a
                                 -- link may have handed messages over whose answers are not kept), signer (the key
                                 -- that counters and progress belong to), refused (why the broker has refused for good),
                                 -- profile (encrypted), presence_store (life of the broker's that `presence` follows from),
                                 -- state_told (1 once there is anything in `state_told`, or was)
    value BLOB NOT NULL          -- text, bytes, or a number in 8 bytes, big endian
) WITHOUT ROWID;

-- The membership log, as signed.
CREATE TABLE log (
    seq        INTEGER PRIMARY KEY, -- 1 is genesis
    entry      BLOB NOT NULL,       -- the bytes that were signed
    signatures BLOB NOT NULL        -- 64 bytes each
);

-- The roster as it was at some place of the log, so that a start need not replay all of it. One row.
CREATE TABLE roster (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    seq  INTEGER NOT NULL, -- the entry of the log that it stands for
    kept BLOB NOT NULL     -- a code under the storage key, 32 bytes, and the snapshot
);

-- Messages accepted from apps.
CREATE TABLE outbox (
    row          INTEGER PRIMARY KEY AUTOINCREMENT, -- rises, never given twice; the order of a lane
    client_id    TEXT NOT NULL UNIQUE,  -- the app's idempotency key
    kind         INTEGER NOT NULL,      -- 0 a message of an app, 1 a read receipt of this node; what is live: 2 a request,
                                        -- 3 progress, 4 a reply, 5 a refusal, 6 a cancel
    wants_read   INTEGER NOT NULL,      -- 1 if the app asked to be told when it is read
    reply_to     TEXT,                  -- the message that this one answers
    wire_id      BLOB NOT NULL UNIQUE,  -- what the broker sees of it, 16 bytes
    fingerprint  BLOB NOT NULL,         -- keyed digest of the request, 32 bytes
    recipient    BLOB NOT NULL,         -- node id, 16 bytes
    to_node      TEXT NOT NULL,         -- the recipient's name when it was accepted
    to_app       TEXT NOT NULL,         -- empty for the default mailbox
    from_app     TEXT NOT NULL,         -- empty if the app did not name itself
    priority     INTEGER NOT NULL,      -- 0 now, 1 next, 2 low
    counter      INTEGER NOT NULL,      -- place in its lane (recipient, priority), from 1; 0 of what is live, and has none
    seal         INTEGER NOT NULL DEFAULT 0, -- how often it was sealed anew
    state        INTEGER NOT NULL DEFAULT 0, -- 0 pending, 1 done (at the broker), 2 dead, 3 aborted
    expires      INTEGER NOT NULL,      -- end of its lifetime
    queued_at    INTEGER NOT NULL,      -- when it was accepted from the app
    accepted_at  INTEGER,               -- when the broker's acceptance was recorded
    delivered_at INTEGER,               -- when a verified receipt was recorded
    read_at      INTEGER,               -- when the recipient's read receipt was recorded
    ended_at     INTEGER,               -- when it became dead or aborted
    reason       TEXT,                  -- why it ended
    ended_by     INTEGER,               -- whose word that is: 0 this node, 1 the broker, 2 the recipient
    message_id   BLOB,                  -- what the broker calls it, 16 bytes
    nacks        INTEGER NOT NULL DEFAULT 0, -- how often its recipient asked for another seal
    superseded_by TEXT,                 -- of an aborted one: the id it was sent under again
    doubtful     INTEGER NOT NULL DEFAULT 0, -- it may have been delivered: 1 if a broker that had it, or may have had it,
                                             -- has lost its store; 2 until the broker says that it has it, if it was
                                             -- handed over and the answer is lost
    renumbered   INTEGER NOT NULL DEFAULT 0, -- 1 if its counter was given under a new signing key, and it may have been
                                             -- delivered under the one before: then this counter never comes
    void_told    INTEGER NOT NULL DEFAULT 0, -- 1 once the recipient knows that this counter will never come, or if there is none
    size         INTEGER NOT NULL       -- bytes of content, for the cap; 0 once it is wiped
);
-- What a link drains, lane by lane.
CREATE INDEX outbox_pending ON outbox (priority, recipient, row) WHERE state = 0;
-- What may run out of time.
CREATE INDEX outbox_expiry ON outbox (expires) WHERE state = 0;
-- What the caps count: everything not yet delivered, dead or aborted.
CREATE INDEX outbox_open ON outbox (state, size) WHERE delivered_at IS NULL AND ended_at IS NULL;
-- Content that may be wiped: of what is delivered, and of what has ended otherwise.
CREATE INDEX outbox_delivered ON outbox (delivered_at) WHERE delivered_at IS NOT NULL AND size > 0;
CREATE INDEX outbox_ended ON outbox (ended_at) WHERE delivered_at IS NULL AND ended_at IS NOT NULL AND size > 0;
-- Ids that may be forgotten: those whose counters the recipient has received, or knows that it never will.
CREATE INDEX outbox_over ON outbox (coalesce(delivered_at, ended_at)) WHERE coalesce(delivered_at, ended_at) IS NOT NULL
    AND (void_told = 1 OR (delivered_at IS NOT NULL AND renumbered = 0));
-- Counters a recipient still has to be told it will never see.
CREATE INDEX outbox_void ON outbox (priority, recipient, counter)
    WHERE (CASE WHEN delivered_at IS NULL THEN ended_at IS NOT NULL ELSE renumbered END) AND void_told = 0;

-- What is in them. Apart from outbox: it is written once, and its row there with each state that it comes to.
CREATE TABLE outbox_content (
    row     INTEGER PRIMARY KEY,        -- outbox.row
    content BLOB NOT NULL               -- body, metadata and headers, encrypted under the storage key
);
CREATE TRIGGER outbox_wiped AFTER UPDATE OF size ON outbox WHEN new.size = 0 AND old.size > 0
    BEGIN DELETE FROM outbox_content WHERE row = new.row; END;
CREATE TRIGGER outbox_gone AFTER DELETE ON outbox WHEN old.size > 0
    BEGIN DELETE FROM outbox_content WHERE row = old.row; END;

-- The last counter given in each outgoing lane.
CREATE TABLE lane_out (
    recipient BLOB NOT NULL,
    priority  INTEGER NOT NULL,
    counter   INTEGER NOT NULL,
    PRIMARY KEY (recipient, priority)
) WITHOUT ROWID;

-- Messages received.
CREATE TABLE inbox (
    row         INTEGER PRIMARY KEY,    -- order of arrival
    cursor      INTEGER UNIQUE,         -- place in the order shown to apps, among messages and events alike; null while
                                        -- earlier ones of its lane are missing
    sender      BLOB NOT NULL,          -- node id, 16 bytes
    signer      BLOB NOT NULL,          -- the sender's signing key, 32 bytes: counters belong to it
    priority    INTEGER NOT NULL,
    counter     INTEGER NOT NULL,       -- place in its lane
    client_id   TEXT NOT NULL,          -- the sending app's id for it
    from_app    TEXT NOT NULL,          -- empty if it did not name itself
    to_app      TEXT NOT NULL,          -- empty for the default mailbox
    thread      TEXT,
    sent_at     INTEGER NOT NULL,       -- on the sender's clock
    received_at INTEGER NOT NULL,
    read_at     INTEGER,                -- when an app acknowledged it
    wants_read  INTEGER NOT NULL,       -- 1 if the sender asked to be told of that
    late        INTEGER NOT NULL,       -- 1 if its lane had gone on without it
    content     BLOB NOT NULL           -- body, metadata and headers, encrypted under the storage key
);
-- One app's mailbox in order.
CREATE INDEX inbox_app ON inbox (to_app, cursor) WHERE cursor IS NOT NULL;
-- Messages waiting for earlier ones of their lane.
CREATE INDEX inbox_held ON inbox (sender, signer, priority, counter) WHERE cursor IS NULL;
-- What is unread.
CREATE INDEX inbox_unread ON inbox (cursor) WHERE read_at IS NULL;
-- What may be deleted.
CREATE INDEX inbox_read ON inbox (read_at) WHERE read_at IS NOT NULL;

-- What happened beside messages. Shares its numbers with inbox.cursor, so that both make one stream.
CREATE TABLE event (
    seq  INTEGER PRIMARY KEY,
    app  TEXT,                          -- whom it is for; null for everybody
    at   INTEGER NOT NULL,
    body TEXT NOT NULL                  -- JSON, as apps see it
);

-- What was ever received: outlives the message, so that a redelivery is recognised and answered the same way.
CREATE TABLE dedupe (
    sender      BLOB NOT NULL,
    client_id   TEXT NOT NULL,
    receipt     BLOB NOT NULL,          -- what the sender was told, 16 bytes
    received_at INTEGER NOT NULL,
    PRIMARY KEY (sender, client_id)
) WITHOUT ROWID;
-- What may be forgotten.
CREATE INDEX dedupe_age ON dedupe (received_at);

-- What has been seen of each incoming lane.
CREATE TABLE lane_in (
    sender   BLOB NOT NULL,
    signer   BLOB NOT NULL,
    priority INTEGER NOT NULL,
    state    BLOB NOT NULL,             -- MessagePack: highest counter, missing ranges, how many are held
    PRIMARY KEY (sender, signer, priority)
) WITHOUT ROWID;

-- Sessions that others have opened to this node.
CREATE TABLE session (
    id        BLOB PRIMARY KEY,         -- 16 bytes
    sender    BLOB NOT NULL,
    opened_at INTEGER NOT NULL,
    not_after INTEGER NOT NULL,         -- when the sender stops using it, on the sender's clock
    secret    BLOB NOT NULL             -- encrypted under the storage key
) WITHOUT ROWID;
CREATE INDEX session_sender ON session (sender, opened_at);

-- This node's prekeys.
CREATE TABLE prekey (
    id           INTEGER PRIMARY KEY,
    signed       BLOB NOT NULL,         -- the public half as signed
    created_at   INTEGER NOT NULL,
    published_at INTEGER,               -- when the broker first confirmed it
    secret       BLOB NOT NULL          -- encrypted under the storage key
);

-- The newest prekey seen of each peer: an older one is never accepted again.
CREATE TABLE peer_prekey (
    node   BLOB PRIMARY KEY,
    signer BLOB NOT NULL,               -- the signing key it was accepted under
    id     INTEGER NOT NULL,
    signed BLOB NOT NULL                -- as the peer signed it
) WITHOUT ROWID;

-- Boxes that did not open: what is known of them, not what is in them.
CREATE TABLE quarantine (
    row     INTEGER PRIMARY KEY,
    sender  BLOB NOT NULL,              -- as the broker named it
    wire_id BLOB NOT NULL,
    seal    INTEGER NOT NULL,
    reason  TEXT NOT NULL,
    size    INTEGER NOT NULL,
    at      INTEGER NOT NULL
);

-- Members whose mail is refused: a person has said so.
CREATE TABLE blocked (
    node BLOB PRIMARY KEY,
    at   INTEGER NOT NULL
) WITHOUT ROWID;

-- Peers and their apps as apps were told of them, with the events that told it.
CREATE TABLE presence (
    node     BLOB NOT NULL,             -- node id, 16 bytes
    app      TEXT NOT NULL,             -- empty for the node itself
    instance TEXT NOT NULL,             -- which of several apps of that name; empty if there is one
    online   INTEGER NOT NULL,          -- 1 if it is there; of an app that is not, nothing is kept
    at       INTEGER NOT NULL,          -- since when that is so, on the broker's clock
    PRIMARY KEY (node, app, instance)
) WITHOUT ROWID;

-- Keys of shared state as apps were told of them, with the events that told it.
CREATE TABLE state_told (
    key  BLOB PRIMARY KEY,              -- as the broker knows it, 32 bytes
    told BLOB NOT NULL                  -- its name, and which version of it; encrypted
) WITHOUT ROWID;

-- Spaces that are followed, and how far the copy of each has come.
CREATE TABLE space (
    id      INTEGER PRIMARY KEY,
    space   BLOB NOT NULL UNIQUE,       -- as the broker knows it, 32 bytes
    store   BLOB NOT NULL,              -- the life of the broker's store that places are of; empty before the first answer
    place   INTEGER NOT NULL,           -- the last one known
    begun   INTEGER NOT NULL,           -- the end of the space when this copy was begun
    as_of   INTEGER,                    -- when it was last complete
    counter INTEGER NOT NULL            -- changes of this node may have been given numbers up to this
);

-- Records and tombstones of spaces, sealed as they came: the keys that open them are kept under the storage key.
CREATE TABLE space_record (
    id        INTEGER PRIMARY KEY,
    space     INTEGER NOT NULL,         -- space.id
    old       INTEGER NOT NULL,         -- 1 if it is from a store that the broker has lost, and not known to be in the new one
    seq       INTEGER NOT NULL,         -- its place
    key       BLOB NOT NULL,            -- the key as the broker knows it, 32 bytes
    slot      BLOB NOT NULL,            -- how it stands there: empty, the shared one; a node id, its own; 8 bytes, the
                                        -- place of an appended one
    tombstone INTEGER NOT NULL,         -- 1 if it says that the record was deleted
    writer    BLOB NOT NULL,            -- node id, 16 bytes
    version   INTEGER NOT NULL,
    counter   INTEGER NOT NULL,         -- the writer's number of it
    at        INTEGER NOT NULL,         -- when it was committed, on the broker's clock
    expires   INTEGER,                  -- when it ends, on the broker's clock
    bound     INTEGER,                  -- it ends so many milliseconds after its writer's lease
    life      BLOB NOT NULL,            -- the life of the broker's store for which it was written, 16 bytes
    sealed    BLOB NOT NULL
);
-- By half of the key, which nobody can find another for: keys are random, and this is written anew all over by each commit.
CREATE UNIQUE INDEX space_record_slot ON space_record (space, old, substr(key, 1, 16), slot);
CREATE UNIQUE INDEX space_record_seq ON space_record (space, old, seq);
CREATE INDEX space_record_tombstone ON space_record (at) WHERE tombstone = 1;

-- How far each writer of a space has come: a number that is not above is a repeat.
CREATE TABLE space_writer (
    space   INTEGER NOT NULL,
    signer  BLOB NOT NULL,              -- the signing key, 32 bytes: numbers belong to it
    counter INTEGER NOT NULL,           -- the highest seen
    lost    INTEGER NOT NULL,           -- that when the broker's store was last found to be lost
    PRIMARY KEY (space, signer)
) WITHOUT ROWID;

-- What apps have subscribed to.
CREATE TABLE topic_subscription (
    id     BLOB PRIMARY KEY,            -- 16 bytes, chosen at random
    app    TEXT NOT NULL,
    sealed BLOB NOT NULL                -- pattern and what else was said, encrypted under the storage key
) WITHOUT ROWID;

-- How far each app has come in each topic.
CREATE TABLE topic_cursor (
    app     TEXT NOT NULL,
    space   BLOB NOT NULL,              -- the topic's, as the broker knows it, 32 bytes
    version INTEGER NOT NULL,           -- rises: an older state of the cursor does not take the place of a newer one
    store   BLOB NOT NULL,              -- the life of the broker's store that places are of, 16 bytes
    place   INTEGER NOT NULL,           -- everything up to here is acknowledged
    missed  INTEGER NOT NULL,           -- messages that ended before they were
    tries   INTEGER NOT NULL,           -- how often the first one behind it was handed over in vain
    marks   BLOB NOT NULL,              -- what was acknowledged in other lives of the store: MessagePack, each writer's number
                                        -- of the last
    PRIMARY KEY (app, space)
) WITHOUT ROWID;

-- Messages that were handed over in vain as often as one is, and passed over.
CREATE TABLE topic_dead (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    app   TEXT NOT NULL,
    space BLOB NOT NULL,
    seq   INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    at    INTEGER NOT NULL
);
CREATE INDEX topic_dead_app ON topic_dead (app, id);
