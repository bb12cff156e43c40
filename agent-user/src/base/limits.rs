//! Every buffer that grows with traffic has its bound here: who would abuse it, and what is given up.
//!
//! Each bound that is reached is counted and named (`limit.…` anomaly or an `Incomplete` reason); each has a test at its edge.

/// Connections tracked at once. A port scan from inside an agent opens connections without end; the longest idle one is
/// given up and its open exchange says `evicted`.
pub const FLOWS: usize = 65_536;

/// Bytes that wait for an earlier chunk of the same direction. Chunks of one call can overtake each other by a few
/// slots only; someone who skips offsets on purpose gets a gap instead of memory.
pub const OUT_OF_ORDER_BYTES: usize = 1 << 20;

/// Bytes of a message body that are kept for reading; the rest is hashed and counted. Agents send whole conversations
/// with pictures in one call, a hostile server sends without end.
pub const BODY_KEPT: usize = 8 << 20;

/// All kept body bytes together. Past it new bodies are only hashed and counted.
pub const BODIES_KEPT_TOTAL: usize = 128 << 20;

/// Of a body whose length is announced so many bytes get their room at once, so many in all bodies together. The announced length
/// is a stranger's word: past the bounds room grows with what comes.
pub const BODY_ROOM: usize = 1 << 20;
pub const BODY_ROOM_TOTAL: usize = 64 << 20;

/// Bytes of one HTTP/1 head (start line and fields) or one decoded HTTP/2 field list.
pub const HEAD_BYTES: usize = 64 << 10;

/// Fields in one head.
pub const HEAD_FIELDS: usize = 256;

/// One chunk-size line with its extensions. Extensions have no meaning here; a flood of them is dropped.
pub const CHUNK_LINE: usize = 4 << 10;

/// Parts of one multipart body, and bytes of the fields of one part. A form has a few of each; more are not read.
pub const MULTIPART_PARTS: usize = 1_000;
pub const MULTIPART_HEAD: usize = 16 << 10;

/// Pipelined or multiplexed exchanges open on one connection.
pub const OPEN_EXCHANGES: usize = 512;

/// Nesting and size of a JSON text; deeper or larger is kept as opaque bytes with an anomaly.
pub const JSON_DEPTH: usize = 128;
pub const JSON_KEYS: usize = 100_000;
pub const JSON_STRING: usize = 1 << 20;

/// Processes remembered, dead ones included until their last workflow closes.
pub const PROCESSES: usize = 65_536;

/// Codings stacked on one body. Each costs a window of memory; nobody needs more than two.
pub const CONTENT_LAYERS: usize = 2;

/// A coded body that grew past `EXPANSION_FREE` bytes and past `EXPANSION_RATIO` times its own size is a bomb: decoding stops and
/// what came out so far is kept.
pub const EXPANSION_FREE: u64 = 1 << 20;
pub const EXPANSION_RATIO: u64 = 100;

/// Decoded bytes of one coded body; past them it is only counted as cut. Nobody compresses a larger answer on the fly, and a ratio
/// below the bound would still give a hundredfold of whatever is sent.
pub const CONTENT_BYTES: u64 = 256 << 20;

/// Work that undoing a coding may take, counted in coded bytes and not in time, so that a replay gives the same: so much for nothing,
/// and beyond it twice what came out. A stream of empty blocks, each with tables to build, gives nothing and takes long; so does one
/// of empty members, each of which begins anew and counts as many bytes more.
pub const CONTENT_WORK_FREE: u64 = 1 << 20;
pub const CONTENT_WORK_RATIO: u64 = 2;
pub const CONTENT_MEMBER_WORK: u64 = 1 << 10;

/// Bombs after which a connection's bodies are no longer decoded, only counted.
pub const BOMBS: u8 = 3;

/// Bytes of one server-sent event or one line of NDJSON that wait for its end. A server that never ends a line would have us
/// keep it; the event is given up and counted.
pub const FRAME_BYTES: usize = 1 << 20;

/// Bytes that wait while a connection's protocol is not known yet. A stranger's protocol never becomes known; then the bytes
/// are only counted.
pub const UNDECIDED_BYTES: usize = 64 << 10;

/// Bytes of an HPACK dynamic table, as the encoder counts them. An encoder may claim any size; past this the oldest entries are
/// forgotten and references to them are unknown.
pub const HPACK_TABLE_BYTES: usize = 64 << 10;

/// Bytes that wait in all directions of all connections together, so that many connections with a hole each cannot add up.
pub const REASSEMBLY_TOTAL: usize = 128 << 20;

/// Socket records remembered until their connection speaks or closes. Past it the oldest is forgotten, and its connection has no
/// peer address.
pub const SOCKETS: usize = 65_536;

/// Bytes that wait while a direction of HTTP/2 is searched for its next provable frame; then the older half is given up.
pub const HTTP2_RESYNC_BYTES: usize = 128 << 10;

/// CONTINUATION frames of one header block past which it is named a flood. Frames may be empty, so their bytes do not bound them.
pub const HTTP2_CONTINUATIONS: usize = 16;

/// Streams reset on one connection past which it is named a reset flood (CVE-2023-44487). Nothing is given up.
pub const HTTP2_RESETS: usize = 1000;

/// SETTINGS, PING, PRIORITY and empty DATA frames in a row past which they are named a flood (CVE-2019-9512, -9515, -9518). Nothing is given up.
pub const HTTP2_CONTROL_FRAMES: usize = 1000;

/// Stream numbers remembered after their end, so that late frames are not taken for new streams.
pub const CLOSED_STREAMS: usize = 256;

/// Fragments of one WebSocket message past which it is named a flood. They may be empty, so their bytes do not bound them.
pub const WEBSOCKET_FRAGMENTS: usize = 4096;

/// WebSocket control messages in a row past which they are named a flood. Nothing is given up.
pub const WEBSOCKET_CONTROL_FRAMES: usize = 1000;

/// Interim answers (1xx) to one HTTP/1 request past which they are named a flood. Nothing is given up.
pub const INTERIM_ANSWERS: usize = 100;

/// Nesting and fields of a protobuf message that is read without its schema; past them it stays opaque.
pub const PROTOBUF_DEPTH: usize = 32;
pub const PROTOBUF_FIELDS: usize = 10_000;

/// One JSON-RPC message on a pipe. A program that never ends a line would have us keep it; it is passed over and counted.
pub const JSONRPC_MESSAGE_BYTES: usize = 8 << 20;

/// Messages of one JSON-RPC batch. A batch of eight megabytes of the shortest messages would become a hundred thousand exchanges at
/// once; the rest is counted, not read.
pub const JSONRPC_BATCH: usize = 1024;

/// Places in paths below which words are gathered, and words gathered before the place is a variable. An agent that makes up hosts
/// and paths fills the first: later slugs stay words, and their calls say `limit.path_places`.
pub const PATH_PLACES: usize = 16_384;
pub const PATH_WORDS: usize = 12;

/// Actions that wait for their answer. A client that never reads answers leaves requests open; the oldest is handed on
/// without one, and says so.
pub const OPEN_ACTIONS: usize = 16_384;

/// Fingerprints of values that one conversation keeps to tell where arguments come from. A tool that returns megabytes of words
/// fills it; later values count as the model's own.
pub const FINGERPRINTS: usize = 50_000;

/// Sentences of contents that one conversation keeps (what acts they name, no words). Later ones are read for their acts only.
pub const PASSAGES: usize = 8_192;

/// Fingerprints and sentences of all conversations together. Past it the oldest conversation forgets what its tools returned.
pub const FINGERPRINTS_TOTAL: usize = 4_000_000;

/// Objects whose owner or tenant an answer told. A listing without end pushes out the oldest, whose owner is then not known.
pub const OWNED_OBJECTS: usize = 65_536;

/// Conversations open at once, and steps and edges kept of one. An agent that loops for days fills them; the oldest conversation
/// is closed, later steps of a full one are judged but not listed.
pub const CONVERSATIONS: usize = 100_000;
pub const WORKFLOW_STEPS: usize = 10_000;

/// WebSockets on the streams of one HTTP/2 connection whose compressed messages are inflated: each direction keeps a window of
/// 32 KiB and its tables. Messages of further ones are counted, not read.
pub const HTTP2_WEBSOCKETS: usize = 64;

/// Keys that one rule's state block keeps. Who varies a key on purpose (a new session for each call) pushes out the oldest, which is
/// counted.
pub const RULE_KEYS: usize = 65_536;

/// Users (or tenants) to whom an object may be shown and who are told apart. Who has it shown to more makes it count as shown to
/// everybody: it is nobody's secret, and only whose it is still matters.
pub const OBJECT_VIEWERS: usize = 256;

/// Values that all labels of `seen()` remember together. Who makes up new ones pushes out the oldest, which are counted and count as never
/// seen again.
pub const SIGHTINGS: usize = 262_144;

/// What the picture for `top` and the web console keeps: agents, names of hosts, models and tools of one agent, workflows, steps of one
/// and of all, alerts. A host under a flood of agents or calls shows the recent ones; the oldest calm workflow goes first and is
/// counted. The journal keeps all alerts.
pub const PICTURE_AGENTS: usize = 500;
pub const PICTURE_NAMES: usize = 200;
pub const PICTURE_WORKFLOWS: usize = 4_000;
pub const PICTURE_STEPS_EACH: usize = 400;
pub const PICTURE_STEPS: usize = 30_000;
pub const PICTURE_ALERTS: usize = 2_000;

/// Alerts and evidence that wait for the disk. A disk that hangs costs evidence first, and alerts past these, counted and said in a
/// gap record; it never costs the capture.
pub const ALERTS_WAITING: usize = 8_192;
pub const EVIDENCE_WAITING: usize = 8_192;

/// Dead letters of one sink. A receiver that refuses everything fills them; the older half gives way.
pub const DEAD_LETTER_BYTES: u64 = 64 << 20;
