//! Every limit of the HTTP codec and the proxy, in one place.
//!
//! Each has a test at the limit (accepted) and one past it (the stated answer). Limits that an
//! operator may want to move are fields of [`crate::Config`]; these are the ones that bound memory
//! and work whatever the configuration says.

use std::time::Duration;

/// Bytes of a message head: start line, fields and the empty line. Beyond: 431 (R18).
pub const HEAD_BYTES: usize = 32 * 1024;
/// Field lines in a head. Beyond: 431 (R18).
pub const FIELDS: usize = 100;
/// Bytes of a request target. Beyond: 414 (R18).
pub const TARGET_BYTES: usize = 8 * 1024;
/// Bytes of a method. Beyond: 400; the longest registered one has 17.
pub const METHOD_BYTES: usize = 32;
/// Interim (1xx) responses to one request. Beyond: 502 (R18).
pub const INTERIM_RESPONSES: u32 = 8;
/// Digits of a chunk size. Beyond: 400 (R5).
pub const CHUNK_SIZE_DIGITS: u8 = 16;
/// Bytes of chunk extensions over a whole body. Beyond: 400 (R5).
pub const CHUNK_EXTENSION_BYTES: usize = 4 * 1024;
/// Bytes of a trailer section. Beyond: 431.
pub const TRAILER_BYTES: usize = 8 * 1024;
/// Greatest length of a body or a chunk: 2^63 - 1. Beyond: 400 (R2, R5).
pub const BODY_BYTES: u64 = i64::MAX as u64;

/// A connection buffer's first size.
pub const BUFFER_START: usize = 2 * 1024;
/// Bytes that are read of what a client sends while its request is being answered; more waits.
pub const EARLY_BYTES: usize = 4 * 1024;
/// A connection buffer's last size: it doubles while reads fill it. Must exceed [`HEAD_BYTES`].
pub const BUFFER_MAX: usize = 64 * 1024;
/// Bytes of messages that are buffered whole, over all connections, unless a service is given another
/// limit. Beyond: they are streamed.
pub const HOARD: usize = 64 * 1024 * 1024;
/// Bytes that one direction moves before it lets other tasks run.
pub const RELAY_TURN: usize = 1024 * 1024;
/// Copies of requests that a service sends at once. Beyond: none is made.
pub const MIRRORED: usize = 256;
/// Questions that may be asked, one after the other, before a request is served. Beyond: 500.
pub const QUESTIONS: u32 = 8;
/// Backends tried for one request.
pub const BACKEND_ATTEMPTS: usize = 3;
/// Bytes read and thrown away after an early answer, so that it reaches a client still sending.
pub const LINGER_BYTES: usize = 256 * 1024;
/// Time for the same.
pub const LINGER_TIME: Duration = Duration::from_secs(2);
/// Bytes of the answer to a health probe that are read at most. One that is longer is good so far.
pub const PROBE_BODY: usize = 64 * 1024;
/// How often idle upstream connections are looked at for an end, stray bytes or old age.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is looked whether backends have their warm connections.
pub const WARM_INTERVAL: Duration = Duration::from_millis(100);
/// Times that it takes until all are begun.
pub const WARM_STEPS: usize = 10;
/// Time after an attempt to make one that failed; twice as long after each further one, up to 32 times.
pub const WARM_PATIENCE: Duration = Duration::from_secs(1);
/// Requests that are over and wait for whoever watches them; beyond, the oldest are forgotten.
pub const WATCHED: usize = 4096;
/// Bytes of lines of a log that are handed over at once.
pub const LOG_BATCH: usize = 32 * 1024;
/// Bytes of lines of a log that wait to be handed over. Beyond: lines are lost, and counted.
pub const LOG_WAITING: usize = 1024 * 1024;
/// How long a line waits for others before it is handed over.
pub const LOG_DELAY: Duration = Duration::from_millis(50);
/// Connections whose TLS secrets are kept, while any are.
pub const KEYED_CONNECTIONS: usize = 4096;
/// Bytes of a client's hello that are looked through for a server name, with the headers of its records.
/// Hellos with a post-quantum key share and an encrypted inner one stay below 4 KiB.
pub const HELLO_BYTES: usize = 16 * 1024;
/// Bytes of a PROXY header that is read, with its TLVs.
pub const PROXY_HEADER_BYTES: usize = 4 * 1024;

/// Networks in a list of clients. A file with more is not used.
pub const LIST_NETWORKS: usize = 1_000_000;
/// Patterns in a list of paths or user agents, each of which is tried. A file with more is not used.
pub const LIST_PATTERNS: usize = 1_000;
/// Bytes of such a pattern.
pub const PATTERN_BYTES: usize = 256;
/// Bytes of a credential that a client presents. Beyond: 431.
pub const CREDENTIAL_BYTES: usize = 8 * 1024;
/// Users in a file of passwords, and keys in a file of those. A file with more is not used.
pub const USERS: usize = 100_000;
/// Credentials that are known to be good, of each `[auth.NAME]`.
pub const REMEMBERED: usize = 16 * 1024;
/// Passwords that are checked at the same time, on threads of their own.
pub const CHECKS_AT_ONCE: usize = 2;
/// Passwords that wait to be checked. Beyond: 503.
pub const CHECKS_WAITING: usize = 64;
/// The greatest cost of a bcrypt hash: each step doubles it, and 16 takes some four seconds.
pub const BCRYPT_COST: u32 = 16;
/// The greatest number of rounds of a SHA-crypt hash: about a second.
pub const SHA_CRYPT_ROUNDS: u32 = 1_000_000;
/// The most memory of an Argon2 hash, in KiB.
pub const ARGON2_KIB: u32 = 256 * 1024;
/// The most passes of an Argon2 hash.
pub const ARGON2_PASSES: u32 = 16;
/// Keys in a set of them. A set with more is not used.
pub const KEY_SET: usize = 256;
/// Keys that are tried for a token that names none.
pub const KEYS_TRIED: usize = 4;
/// Fields that an `[auth.NAME]` tells a backend.
pub const CLAIM_FIELDS: usize = 16;
/// Bytes of such a field's value. A longer one is left out.
pub const CLAIM_BYTES: usize = 4 * 1024;
/// Answers of one URL that a cache keeps beside each other. Beyond: the oldest gives way.
pub const CACHE_VARIANTS: usize = 32;
/// Requests that wait for one fetch into a cache. Beyond: they are fetched by themselves.
pub const CACHE_WAITING: usize = 1024;
/// The longest that a request waits for another's fetch before it is fetched by itself.
pub const CACHE_PATIENCE: Duration = Duration::from_secs(10);
/// How long nobody waits for another's fetch after an answer could not be kept.
pub const CACHE_UNKEPT: Duration = Duration::from_secs(10);
/// Stale answers of one cache that are validated in the background at once. Beyond: they are given, and
/// validated later.
pub const CACHE_REFRESHES: usize = 256;
/// Removals of URLs that a cache remembers, so that nothing is kept that was asked for before one. What was
/// asked for before the oldest is not kept.
pub const CACHE_REMOVALS: usize = 4096;
/// References in the head of an answer to an unsafe method whose answers are removed too. Beyond: not
/// looked at.
pub const CACHE_REFERENCES: usize = 8;

/// Bytes of a body that a peer of HTTP/2 may send before the other side has taken any.
pub const H2_STREAM_WINDOW: u32 = 256 * 1024;
/// The same of all bodies of one connection.
pub const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of answers on one connection to a backend that may wait for clients: so many that a client
/// that reads slowly holds up no other. Each of them is held to [`H2_STREAM_WINDOW`].
pub const H2_LINK_WINDOW: u32 = 1 << 30;
/// Bytes of one body that wait within a connection to be sent.
pub const H2_SEND_BUFFER: usize = 64 * 1024;
/// Bytes of a body that are given to a connection at once: a frame of the size that all accept.
pub const H2_DATA: usize = 16 * 1024;
/// Streams of a connection that end by an error of the peer's. Beyond: `GOAWAY` (`MadeYouReset`).
pub const H2_ERROR_RESETS: usize = 100;
/// `RST_STREAM` on one connection, either way, at once. Beyond: `GOAWAY` with `ENHANCE_YOUR_CALM`.
pub const H2_CANCELLATIONS: u32 = 400;
/// The same by the second.
pub const H2_CANCELLATIONS_PER_SECOND: u32 = 50;
/// Frames of a peer that bring nothing (SETTINGS, PING and the like) at once. Beyond: `GOAWAY` with
/// `ENHANCE_YOUR_CALM`.
pub const H2_CONTROL_FRAMES: u32 = 1000;
/// The same by the second.
pub const H2_CONTROL_FRAMES_PER_SECOND: u32 = 100;
/// Buffers of connections of HTTP/1 that a service keeps for the next that has something to do: some 8 KiB
/// each.
pub const SPARE_BUFFERS: usize = 128;
/// Buffers of requests over HTTP/2 that a service keeps for the next.
pub const H2_SEATS: usize = 64;

const _: () = assert!(BUFFER_MAX >= HELLO_BYTES);
const _: () = assert!(BUFFER_MAX > HEAD_BYTES && BUFFER_START <= BUFFER_MAX);
