-- The broker's store. Mesh is the leading column of every key: later it is what a deployment is divided by.
-- Times are milliseconds since the Unix epoch on the broker's clock. Ids are raw bytes.

CREATE TABLE meta (
    id      INTEGER PRIMARY KEY CHECK (id = 1), -- there is one row
    store   BLOB    NOT NULL CHECK (length(store) = 16), -- this life of the store, random; every challenge carries it
    secret  BLOB    NOT NULL CHECK (length(secret) = 32), -- makes the marks by which a store that was set back is found out
    m       INTEGER NOT NULL, -- rises by one with every commit
    created INTEGER NOT NULL, -- when the store was made
    began   INTEGER NOT NULL -- when this life began
) STRICT;

-- Every opening of the store there ever was. A mark of one that is not here is from a future that was lost.
CREATE TABLE run (
    id    INTEGER PRIMARY KEY, -- rises
    run   BLOB    NOT NULL UNIQUE CHECK (length(run) = 16), -- random
    first INTEGER NOT NULL -- meta.m when it began
) STRICT;

CREATE TABLE mesh (
    mesh      BLOB    NOT NULL PRIMARY KEY CHECK (length(mesh) = 16), -- first 16 bytes of the genesis entry's hash
    created   INTEGER NOT NULL, -- when this store first held it
    head_seq  INTEGER NOT NULL, -- last entry of the log; an append moves it only from where its writer saw it
    head_hash BLOB    NOT NULL CHECK (length(head_hash) = 32), -- that entry's hash
    waits     INTEGER NOT NULL CHECK (waits IN (0, 1)) -- 1 from a loss of the store until an admin's resume
) STRICT, WITHOUT ROWID;

CREATE TABLE log (
    mesh       BLOB    NOT NULL, -- whose log
    seq        INTEGER NOT NULL, -- place in it, from 1, without gaps
    entry      BLOB    NOT NULL, -- the signed bytes, exactly as they came
    signatures BLOB    NOT NULL, -- over them, 64 bytes each, in the order of the entry's signers
    PRIMARY KEY (mesh, seq)
) STRICT;

-- Logs that part from the one in log, of meshes that wait: what follows the last entry that both have.
CREATE TABLE branch (
    id         INTEGER PRIMARY KEY, -- rises
    mesh       BLOB    NOT NULL,
    head       BLOB    NOT NULL CHECK (length(head) = 32), -- hash of its last entry, which names the branch
    seq        INTEGER NOT NULL,
    entry      BLOB    NOT NULL, -- as in log
    signatures BLOB    NOT NULL  -- as in log
) STRICT;

CREATE UNIQUE INDEX branch_place ON branch (mesh, head, seq);

CREATE TABLE node (
    mesh         BLOB    NOT NULL,
    node         BLOB    NOT NULL CHECK (length(node) = 16),
    login        INTEGER NOT NULL, -- number of the last login; changes of an older one are ignored
    next_seq     INTEGER NOT NULL, -- seq of the next row of its queue, from 1, never given twice
    queued       INTEGER NOT NULL CHECK (queued >= 0), -- envelopes in its queue, for the cap
    queued_bytes INTEGER NOT NULL CHECK (queued_bytes >= 0), -- their size, for the cap
    shown_login   INTEGER NOT NULL, -- how far its state had come when it was last shown: the login it was in,
    shown_through INTEGER NOT NULL, -- the last delivery of that login that it had settled,
    shown_rows    INTEGER NOT NULL, -- and the rows that its outbox had been given; less is an older copy of it
    PRIMARY KEY (mesh, node)
) STRICT, WITHOUT ROWID;

-- Apart from node: a prekey is 1.3 KiB and changes hourly, a node's counters change with every message.
CREATE TABLE prekey (
    mesh      BLOB    NOT NULL,
    node      BLOB    NOT NULL,
    id        INTEGER NOT NULL, -- the prekey's number; only a higher one replaces it
    prekey    BLOB    NOT NULL, -- the signed bytes, exactly as they came
    signature BLOB    NOT NULL CHECK (length(signature) = 64), -- over them
    PRIMARY KEY (mesh, node)
) STRICT, WITHOUT ROWID;

CREATE TABLE dedupe (
    mesh        BLOB    NOT NULL,
    sender      BLOB    NOT NULL, -- the node that sent it: an id is unique to its sender
    wire        BLOB    NOT NULL CHECK (length(wire) = 16), -- the sender's wire id
    fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 32), -- tells a retry from an id used twice
    message     BLOB    NOT NULL CHECK (length(message) = 16), -- what the broker calls it; kept when it is sealed anew
    recipient   BLOB    NOT NULL, -- in whose queue it was put,
    rank        INTEGER NOT NULL, -- under which rank (see queue),
    seq         INTEGER NOT NULL, -- and where: the row that a higher seal replaces
    seal        INTEGER NOT NULL, -- highest seal accepted
    first_seen  INTEGER NOT NULL, -- when it was first accepted
    expires     INTEGER NOT NULL, -- when the record may go; after every end of the message
    PRIMARY KEY (mesh, sender, wire)
) STRICT, WITHOUT ROWID;

CREATE INDEX dedupe_expires ON dedupe (expires);

-- A rowid table: an envelope inside a key costs 2.6 times as much.
CREATE TABLE queue (
    mesh      BLOB    NOT NULL,
    recipient BLOB    NOT NULL, -- the node it waits for
    rank      INTEGER NOT NULL CHECK (rank BETWEEN 0 AND 3), -- delivered in this order: 0 notice, 1 now, 2 next, 3 low
    seq       INTEGER NOT NULL, -- rises per recipient in the order of accepting, over all ranks
    kind      INTEGER NOT NULL, -- 0 envelope; notices: 1 delivered, 2 nack, 3 expired, 4 revoked recipient
    sender    BLOB    CHECK ((sender IS NULL) = (kind > 0)), -- of an envelope: who sent it
    wire      BLOB    NOT NULL, -- the message, as its sender calls it
    seal      INTEGER NOT NULL, -- of an envelope: how often it had been sealed anew; 0 for a notice
    expires   INTEGER NOT NULL, -- an envelope's end makes a notice for its sender; a notice's end makes nothing
    body      BLOB    NOT NULL, -- the envelope as sent; the receipt; the nack's signature and signed bytes; or nothing
    PRIMARY KEY (mesh, recipient, rank, seq)
) STRICT;

CREATE INDEX queue_expires ON queue (expires);

-- Sealed-key lists, one or a few per mesh: that of the newest epoch, and those that an admin's node is putting here before
-- it appends the entry that names them. The newest is the one whose root the log names.
CREATE TABLE key_list (
    id      INTEGER PRIMARY KEY,
    mesh    BLOB    NOT NULL,
    root    BLOB    NOT NULL CHECK (length(root) = 32), -- what an entry names; all slots are proven to belong to it
    epoch   INTEGER NOT NULL, -- the epoch that it begins
    maker   BLOB    NOT NULL, -- the node that puts it
    slots   INTEGER NOT NULL, -- how many it has
    held    INTEGER NOT NULL CHECK (held BETWEEN 0 AND slots), -- how many of them are in key_slot
    touched INTEGER NOT NULL, -- when a part of it came last; 0 when it has been given up
    earlier BLOB    NOT NULL  -- the keys before it, sealed under its own
) STRICT;

CREATE UNIQUE INDEX key_list_root ON key_list (mesh, root);

-- A rowid table, as a slot has 1.3 KiB and more.
CREATE TABLE key_slot (
    mesh   BLOB    NOT NULL,
    list   INTEGER NOT NULL, -- key_list.id
    place  INTEGER NOT NULL, -- in the list, from 0
    holder BLOB    NOT NULL, -- 16 bytes: a node's id; 32: an invite's key
    sealed_to BLOB NOT NULL CHECK (length(sealed_to) = 32), -- digest of the sealing key
    sealed BLOB    NOT NULL, -- the epoch's key
    path   BLOB    NOT NULL  -- hashes that prove it to be in the list
) STRICT;

CREATE UNIQUE INDEX key_slot_place ON key_slot (mesh, list, place);
CREATE INDEX key_slot_holder ON key_slot (mesh, list, holder);

CREATE TABLE space (
    id      INTEGER PRIMARY KEY, -- what record.space names
    mesh    BLOB    NOT NULL,
    space   BLOB    NOT NULL CHECK (length(space) = 32), -- its id, a keyed digest of its name
    last    INTEGER NOT NULL, -- the last place given; never falls, not even across a loss
    past    INTEGER NOT NULL, -- the last place of the store's lives before: what stands up to there counts as handed back
    horizon INTEGER NOT NULL, -- the newest place of what was forgotten with age: an older copy is reset
    records INTEGER NOT NULL CHECK (records >= 0), -- its rows in record, for the cap
    bytes   INTEGER NOT NULL CHECK (bytes >= 0) -- their sealed bytes, for the cap
) STRICT;

CREATE UNIQUE INDEX space_id ON space (mesh, space);

-- What stands in the spaces, and for a while what stood there. A rowid table, as sealed has up to 320 KiB.
CREATE TABLE record (
    id      INTEGER PRIMARY KEY, -- names nothing outside one transaction
    mesh    BLOB    NOT NULL,
    space   INTEGER NOT NULL, -- space.id
    seq     INTEGER NOT NULL, -- the place of the change that made this row
    kind    INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 2), -- 0 a record, 1 a tombstone, 2 the end of a record
    key     BLOB    NOT NULL CHECK (length(key) = 32), -- under which key, a keyed digest of its name
    writer  BLOB    NOT NULL, -- who wrote it; of a tombstone, who deleted; of an end, whose record it was
    stands  INTEGER NOT NULL CHECK (stands BETWEEN 0 AND 2), -- how it stands or stood: 0 shared, 1 own, 2 appended
    of_seq  INTEGER, -- of a tombstone or end: the record's seq
    why     INTEGER, -- of an end: 0 lifetime, 1 lease, 2 goodbye
    at      INTEGER NOT NULL, -- when it was committed
    ends    INTEGER, -- of a record: when its lifetime is over, if it has one; of the others: when they are forgotten
    bound   INTEGER CHECK (bound IS NULL OR kind = 0), -- it ends so many milliseconds after its writer's lease
    touched INTEGER, -- the place of the change that renewed it last,
    touched_at INTEGER CHECK ((touched_at IS NULL) = (touched IS NULL)), -- and when that was committed
    offered INTEGER NOT NULL CHECK (offered IN (0, 1)), -- it was handed back after a loss; of an end, what has ended was
    sealed  BLOB    NOT NULL -- as it came; nothing for an end
) STRICT;

CREATE UNIQUE INDEX record_place ON record (mesh, space, seq);
-- With seq: a follower is told of renewals of what it has, and who begins has nothing.
CREATE INDEX record_touched ON record (mesh, space, touched, seq) WHERE touched IS NOT NULL;
CREATE INDEX record_key ON record (mesh, space, key, stands, kind, seq);
CREATE INDEX record_bound ON record (mesh, writer, bound) WHERE bound IS NOT NULL;
CREATE INDEX record_ends ON record (ends) WHERE kind = 0 AND ends IS NOT NULL;
CREATE INDEX record_forgotten ON record (ends) WHERE kind > 0;

-- Changes of spaces that were made, so that a retry is known for one.
CREATE TABLE change_id (
    mesh    BLOB    NOT NULL,
    writer  BLOB    NOT NULL, -- an id is unique to its writer; 16 zeros: what was offered, by its digest
    id      BLOB    NOT NULL CHECK (length(id) = 16), -- the writer's
    digest  BLOB    NOT NULL CHECK (length(digest) = 32), -- of the change: tells a retry from an id used twice
    seq     INTEGER NOT NULL, -- the answer: the place of the change
    expires INTEGER NOT NULL, -- when it may be forgotten
    PRIMARY KEY (mesh, writer, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX change_id_expires ON change_id (expires);
