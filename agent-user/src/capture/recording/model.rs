//! The fields of each record kind, once, for both encodings.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::de::{self, Deserializer, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use crate::base::{ConnId, Direction, LossCause, Sensitive, Timestamp};
use crate::capture::{Chunk, Exec, FileEffect, FileOp, Loss, Observation, Role, Seen, Socket, SocketOp, Source};

/// The kinds, as `kind` spells them.
pub(super) const KINDS: [&str; 8] = ["exec", "fork", "exit", "socket", "chunk", "close", "loss", "file"];

/// Read first, to know which fields are allowed.
#[derive(Deserialize)]
pub(super) struct Head<'a> {
    #[serde(borrow)]
    pub(super) kind: Cow<'a, str>,
}

/// A word of the format next to the value it stands for.
trait Word: Copy + PartialEq + 'static {
    const WORDS: &'static [(&'static str, Self)];

    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| *value == self).map(|(word, _)| *word).expect("every variant is in its table")
    }
}

impl Word for Direction {
    const WORDS: &'static [(&'static str, Self)] = &[("out", Direction::Out), ("in", Direction::In)];
}

impl Word for Source {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("openssl", Source::Openssl),
        ("boringssl", Source::Boringssl),
        ("gnutls", Source::Gnutls),
        ("go", Source::Go),
        ("rustls", Source::Rustls),
        ("plain", Source::Plain),
        ("stdio", Source::Stdio),
    ];
}

impl Word for Role {
    const WORDS: &'static [(&'static str, Self)] = &[("client", Role::Client), ("server", Role::Server)];
}

impl Word for SocketOp {
    const WORDS: &'static [(&'static str, Self)] =
        &[("connect", SocketOp::Connect), ("accept", SocketOp::Accept), ("close", SocketOp::Close)];
}

impl Word for FileOp {
    const WORDS: &'static [(&'static str, Self)] =
        &[("create", FileOp::Create), ("write", FileOp::Write), ("rename", FileOp::Rename), ("unlink", FileOp::Unlink)];
}

struct Worded<T>(T);

impl<'de, T: Word> Deserialize<'de> for Worded<T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let word = Cow::<'de, str>::deserialize(input)?;
        T::WORDS.iter().find(|(name, _)| *name == word).map(|(_, value)| Worded(*value)).ok_or_else(|| {
            let words: Vec<&str> = T::WORDS.iter().map(|(name, _)| *name).collect();
            de::Error::custom(format_args!("unknown word, expected one of {}", words.join(", ")))
        })
    }
}

/// Payload: base64 text for people, raw bytes in MessagePack, borrowed where the frame allows it.
pub(super) enum Payload<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Payload<'a> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Base64;
        impl Visitor<'_> for Base64 {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64 text")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
                BASE64.decode(text).map_err(|_| E::custom("data is not base64"))
            }
        }
        if input.is_human_readable() {
            input.deserialize_str(Base64).map(Payload::Owned)
        } else {
            <&'de [u8]>::deserialize(input).map(Payload::Borrowed)
        }
    }
}

/// Declares a record kind twice: strict (unknown fields are errors) and lenient, which becomes the strict one.
macro_rules! records {
    ($($name:ident { $($field:ident: $kind:ty),* $(,)? })*) => {
        mod lenient {
            use super::*;
            $(#[derive(Deserialize)]
            pub(super) struct $name<'a> {
                ts: u64,
                $($field: $kind,)*
                #[serde(skip)]
                nothing: std::marker::PhantomData<&'a ()>,
            }
            impl<'a> From<$name<'a>> for super::$name<'a> {
                fn from(raw: $name<'a>) -> Self {
                    super::$name { ts: raw.ts, kind: de::IgnoredAny, $($field: raw.$field,)* nothing: raw.nothing }
                }
            })*
        }
        $(#[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name<'a> {
            ts: u64,
            #[expect(dead_code, reason = "names the field, so that the strict reader knows it")]
            kind: de::IgnoredAny,
            $($field: $kind,)*
            #[serde(skip)]
            nothing: std::marker::PhantomData<&'a ()>,
        })*
    };
}

records! {
    ExecRecord {
        pid: u32, ppid: Option<u32>, start: Option<u64>, uid: Option<u32>, exe: Arc<str>, argv: Vec<Arc<str>>,
        cwd: Option<Arc<str>>, cgroup: Option<Arc<str>>,
    }
    ForkRecord { pid: u32, ppid: u32 }
    ExitRecord { pid: u32, code: Option<i64> }
    SocketRecord {
        pid: u32, fd: Option<u32>, op: Worded<SocketOp>, local: Option<Arc<str>>, peer: Option<Arc<str>>, conn: Option<Arc<str>>,
    }
    CloseRecord { pid: u32, conn: Arc<str> }
    LossRecord {
        cause: Cow<'a, str>, count: u64, pid: Option<u32>, conn: Option<Arc<str>>, dir: Option<Worded<Direction>>, bytes: Option<u64>,
    }
    FileRecord { pid: u32, op: Worded<FileOp>, path: Arc<str>, to: Option<Arc<str>> }
}

/// Written out because its payload borrows.
macro_rules! chunk_record {
    ($(#[$strict:meta])* $name:ident { $($kind:ident)? }) => {
        #[derive(Deserialize)]
        $(#[$strict])*
        struct $name<'a> {
            ts: u64,
            $(#[expect(dead_code, reason = "names the field, so that the strict reader knows it")]
            $kind: de::IgnoredAny,)?
            pid: u32,
            tid: Option<u32>,
            conn: Arc<str>,
            dir: Worded<Direction>,
            off: Option<u64>,
            #[serde(borrow)]
            data: Option<Payload<'a>>,
            text: Option<String>,
            source: Worded<Source>,
            sni: Option<Arc<str>>,
            peer: Option<Arc<str>>,
            local: Option<Arc<str>>,
            role: Option<Worded<Role>>,
        }
        impl $name<'_> {
            fn observation<E: de::Error>(self, frame: &Bytes) -> Result<Observation, E> {
                let data = match (self.data, self.text) {
                    (Some(Payload::Borrowed(bytes)), None) => frame.slice_ref(bytes),
                    (Some(Payload::Owned(bytes)), None) => Bytes::from(bytes),
                    (None, Some(text)) => Bytes::from(text.into_bytes()),
                    (Some(_), Some(_)) => return Err(E::custom("a chunk has either data or text, not both")),
                    (None, None) => return Err(E::missing_field("data")),
                };
                let what = Seen::Chunk(Chunk {
                    pid: self.pid,
                    tid: self.tid,
                    conn: ConnId(self.conn),
                    dir: self.dir.0,
                    off: self.off,
                    data: Sensitive::new(data),
                    source: self.source.0,
                    sni: self.sni,
                    peer: self.peer,
                    local: self.local,
                    role: self.role.map(|role| role.0),
                });
                Ok(Observation { ts: Timestamp(self.ts), what })
            }
        }
    };
}

chunk_record!(
    #[serde(deny_unknown_fields)]
    ChunkRecord { kind }
);
chunk_record!(LenientChunkRecord {});

/// Reads the record whose `kind` is known to be `kind`, from a frame or line that `frame` holds.
pub(super) fn read<'de, D: Deserializer<'de>>(
    kind: &str,
    lenient: bool,
    frame: &Bytes,
    input: D,
) -> Result<Observation, D::Error> {
    macro_rules! raw {
        ($name:ident) => {
            if lenient { lenient::$name::deserialize(input)?.into() } else { $name::deserialize(input)? }
        };
    }
    let (ts, what) = match kind {
        "exec" => {
            let raw: ExecRecord<'_> = raw!(ExecRecord);
            let exec = Exec {
                pid: raw.pid,
                ppid: raw.ppid,
                start: raw.start,
                uid: raw.uid,
                exe: raw.exe,
                argv: Sensitive::new(raw.argv),
                cwd: raw.cwd,
                cgroup: raw.cgroup,
            };
            (raw.ts, Seen::Exec(exec))
        }
        "fork" => {
            let raw: ForkRecord<'_> = raw!(ForkRecord);
            (raw.ts, Seen::Fork { pid: raw.pid, ppid: raw.ppid })
        }
        "exit" => {
            let raw: ExitRecord<'_> = raw!(ExitRecord);
            (raw.ts, Seen::Exit { pid: raw.pid, code: raw.code })
        }
        "socket" => {
            let raw: SocketRecord<'_> = raw!(SocketRecord);
            let conn = raw.conn.map(ConnId);
            (raw.ts, Seen::Socket(Socket { pid: raw.pid, fd: raw.fd, op: raw.op.0, local: raw.local, peer: raw.peer, conn }))
        }
        "chunk" if lenient => return LenientChunkRecord::deserialize(input)?.observation(frame),
        "chunk" => return ChunkRecord::deserialize(input)?.observation(frame),
        "close" => {
            let raw: CloseRecord<'_> = raw!(CloseRecord);
            (raw.ts, Seen::Close { pid: raw.pid, conn: ConnId(raw.conn) })
        }
        "loss" => {
            let raw: LossRecord<'_> = raw!(LossRecord);
            let loss = Loss {
                cause: LossCause::from_name(&raw.cause),
                count: raw.count,
                pid: raw.pid,
                conn: raw.conn.map(ConnId),
                dir: raw.dir.map(|dir| dir.0),
                bytes: raw.bytes,
            };
            (raw.ts, Seen::Loss(loss))
        }
        "file" => {
            let raw: FileRecord<'_> = raw!(FileRecord);
            (raw.ts, Seen::File(FileEffect { pid: raw.pid, op: raw.op.0, path: raw.path, to: raw.to }))
        }
        _ => return Err(de::Error::custom("unknown kind")),
    };
    Ok(Observation { ts: Timestamp(ts), what })
}

/// An observation as a map of its fields; absent ones are left out.
pub(super) struct Fields<'a>(pub(super) &'a Observation);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        let readable = output.is_human_readable();
        let mut map = output.serialize_map(None)?;
        map.serialize_entry("ts", &self.0.ts.0)?;
        match &self.0.what {
            Seen::Exec(exec) => {
                map.serialize_entry("kind", "exec")?;
                map.serialize_entry("pid", &exec.pid)?;
                entry(&mut map, "ppid", exec.ppid.as_ref())?;
                entry(&mut map, "start", exec.start.as_ref())?;
                entry(&mut map, "uid", exec.uid.as_ref())?;
                map.serialize_entry("exe", &exec.exe)?;
                map.serialize_entry("argv", exec.argv.expose_content())?;
                entry(&mut map, "cwd", exec.cwd.as_ref())?;
                entry(&mut map, "cgroup", exec.cgroup.as_ref())?;
            }
            Seen::Fork { pid, ppid } => {
                map.serialize_entry("kind", "fork")?;
                map.serialize_entry("pid", pid)?;
                map.serialize_entry("ppid", ppid)?;
            }
            Seen::Exit { pid, code } => {
                map.serialize_entry("kind", "exit")?;
                map.serialize_entry("pid", pid)?;
                entry(&mut map, "code", code.as_ref())?;
            }
            Seen::Socket(socket) => {
                map.serialize_entry("kind", "socket")?;
                map.serialize_entry("pid", &socket.pid)?;
                entry(&mut map, "fd", socket.fd.as_ref())?;
                map.serialize_entry("op", socket.op.word())?;
                entry(&mut map, "local", socket.local.as_ref())?;
                entry(&mut map, "peer", socket.peer.as_ref())?;
                entry(&mut map, "conn", socket.conn.as_ref().map(|conn| &conn.0))?;
            }
            Seen::Chunk(chunk) => chunk_fields(&mut map, chunk, readable)?,
            Seen::Close { pid, conn } => {
                map.serialize_entry("kind", "close")?;
                map.serialize_entry("pid", pid)?;
                map.serialize_entry("conn", &conn.0)?;
            }
            Seen::Loss(loss) => {
                map.serialize_entry("kind", "loss")?;
                map.serialize_entry("cause", loss.cause.name())?;
                map.serialize_entry("count", &loss.count)?;
                entry(&mut map, "pid", loss.pid.as_ref())?;
                entry(&mut map, "conn", loss.conn.as_ref().map(|conn| &conn.0))?;
                entry(&mut map, "dir", loss.dir.map(Word::word).as_ref())?;
                entry(&mut map, "bytes", loss.bytes.as_ref())?;
            }
            Seen::File(file) => {
                map.serialize_entry("kind", "file")?;
                map.serialize_entry("pid", &file.pid)?;
                map.serialize_entry("op", file.op.word())?;
                map.serialize_entry("path", &file.path)?;
                entry(&mut map, "to", file.to.as_ref())?;
            }
        }
        map.end()
    }
}

fn chunk_fields<M: SerializeMap>(map: &mut M, chunk: &Chunk, readable: bool) -> Result<(), M::Error> {
    map.serialize_entry("kind", "chunk")?;
    map.serialize_entry("pid", &chunk.pid)?;
    entry(map, "tid", chunk.tid.as_ref())?;
    map.serialize_entry("conn", &chunk.conn.0)?;
    map.serialize_entry("dir", chunk.dir.word())?;
    entry(map, "off", chunk.off.as_ref())?;
    map.serialize_entry("source", chunk.source.word())?;
    entry(map, "sni", chunk.sni.as_ref())?;
    entry(map, "peer", chunk.peer.as_ref())?;
    entry(map, "local", chunk.local.as_ref())?;
    entry(map, "role", chunk.role.map(Word::word).as_ref())?;
    let bytes = chunk.data.expose_content();
    if !readable {
        return map.serialize_entry("data", &RawBytes(bytes));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => map.serialize_entry("text", text),
        Err(_) => map.serialize_entry("data", &BASE64.encode(bytes)),
    }
}

/// serde writes `&[u8]` as a list of numbers; this writes it as bytes.
struct RawBytes<'a>(&'a [u8]);

impl Serialize for RawBytes<'_> {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.serialize_bytes(self.0)
    }
}

fn entry<M: SerializeMap, T: Serialize + ?Sized>(map: &mut M, key: &'static str, value: Option<&T>) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(key, value))
}
