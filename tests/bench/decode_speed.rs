//! `cargo xtask bench decode`: inner paths of the decode stage beside the bare libraries, on one core.
//!
//! Rounds of both alternate, so that a busy neighbour slows both; time is the CPU time of this thread, the figure is the median of
//! the rounds' ratios. Allocations are counted by the allocator itself. The input is made here, HPACK blocks by nghttp2's encoder.

#[path = "../support/clock.rs"]
mod clock;

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agentward::base::{ConnId, Direction, FlowId, ProcessKey, Sensitive, Timestamp, Value};
use agentward::capture::Source;
use agentward::decode::bench::{Heads, Hpack, decoded, sse};
use agentward::decode::{Decode, HttpEvent, json};
use agentward::reassemble::{Flow, StreamEvent};
use bytes::Bytes;
use clock::spent;

const ROUNDS: usize = 41;

fn main() {
    let mut missed = 0;
    let mut compare = |name: &str, bound: f64, ours: &mut dyn FnMut() -> usize, bare: &mut dyn FnMut() -> usize| {
        let ratio = ratio(name, ours, bare);
        let met = ratio <= bound;
        missed += usize::from(!met);
        println!("{name:44} {ratio:5.2} x   at most {bound:4.2}   {}", if met { "met" } else { "MISSED" });
    };
    println!("{ROUNDS} alternating rounds, median of the ratios, CPU time of one thread");
    let heads = heads();
    let mut reader = Heads::default();
    compare("HTTP/1 heads / httparse", 2.5, &mut || heads.iter().map(|head| read_head(&mut reader, head)).sum(), &mut || {
        heads.iter().map(bare_head).sum()
    });
    let blocks = nghttp2::blocks();
    let whole = &mut || {
        let mut decoder = Hpack::default();
        blocks.iter().map(|block| decoder.octets(block)).sum()
    };
    compare("HPACK, warm table / nghttp2", 1.0, whole, &mut || nghttp2::octets(&blocks));
    let first = &blocks[..1];
    let cold = &mut || (0..blocks.len()).map(|_| Hpack::default().octets(&first[0])).sum();
    compare("HPACK, first block / nghttp2", 0.7, cold, &mut || (0..blocks.len()).map(|_| nghttp2::octets(first)).sum());
    let stream = pieces(&events(), 16 << 10);
    compare("SSE framing / line split", 2.0, &mut || sse(&stream), &mut || {
        stream.iter().map(|piece| lines(piece)).sum::<usize>() / 2
    });
    let chat = chat();
    compare("fields of a 186 KB chat body / serde_json", 0.33, &mut || fields(&chat), &mut || serde_fields(&chat));
    for (coding, coded) in coded(&chat) {
        let parts = pieces(&coded, 16 << 10);
        compare(&format!("{coding} / codec alone"), 1.05, &mut || decoded(coding, &parts), &mut || codec(coding, &parts));
    }
    let (chunks, allocations) = body_allocations();
    println!("{:44} {allocations:5} in {chunks} chunks", "allocations on the plain path of a body");
    missed += usize::from(allocations > 0);
    println!("{missed} missed");
}

/// Median over the rounds of the time of `ours` by that of `bare`; both must give the same number.
fn ratio(name: &str, ours: &mut dyn FnMut() -> usize, bare: &mut dyn FnMut() -> usize) -> f64 {
    assert_eq!(ours(), bare(), "{name}: both find the same");
    let mut repeat = 1;
    while time(repeat, bare) < 2e-3 {
        repeat *= 2;
    }
    let mut ratios: Vec<f64> = (0..ROUNDS)
        .map(|round| {
            // Whoever goes first pays for cold caches: they take turns.
            if round % 2 == 0 {
                let ours = time(repeat, ours);
                ours / time(repeat, bare)
            } else {
                let bare = time(repeat, bare);
                time(repeat, ours) / bare
            }
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ROUNDS / 2]
}

fn time(repeat: usize, work: &mut dyn FnMut() -> usize) -> f64 {
    let started = spent();
    for _ in 0..repeat {
        black_box(work());
    }
    spent() - started
}

/// Counts what is allocated; nothing else differs from the system's allocator.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations while the chunks of a body pass through the whole stage, after its head and first chunk.
fn body_allocations() -> (usize, usize) {
    const CHUNKS: usize = 1000;
    let flow = Arc::new(Flow {
        id: FlowId(1),
        conn: ConnId("c1".into()),
        process: ProcessKey { pid: 1, start: 0 },
        source: Source::Openssl,
        role: None,
        sni: None,
        peer: None,
        local: None,
    });
    let mut stage = Decode::default();
    let mut out: Vec<HttpEvent> = Vec::with_capacity(64);
    let mut push = |dir, bytes: Bytes| {
        let event = StreamEvent::Data { flow: flow.clone(), ts: Timestamp(1), dir, off: 0, bytes: Sensitive::new(bytes) };
        stage.push(event, &mut out);
        out.clear();
    };
    let chunk = Bytes::from(vec![b'x'; 1000]);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", (CHUNKS + 3) * chunk.len());
    push(Direction::Out, Bytes::from_static(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
    push(Direction::In, Bytes::from(head));
    push(Direction::In, chunk.clone());
    push(Direction::In, chunk.clone());
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..CHUNKS {
        push(Direction::In, chunk.clone());
    }
    (CHUNKS, ALLOCATIONS.load(Ordering::Relaxed) - before)
}

fn pieces(bytes: &Bytes, size: usize) -> Vec<Bytes> {
    (0..bytes.len()).step_by(size).map(|at| bytes.slice(at..bytes.len().min(at + size))).collect()
}

/// Heads as API clients and servers write them; the flag says which are responses.
fn heads() -> Vec<(bool, Bytes)> {
    let request = |number: usize| {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nConnection: keep-alive\r\n\
             Accept: application/json\r\nContent-Type: application/json\r\nUser-Agent: OpenAI/Python 2.1.0\r\nX-Stainless-Lang: python\r\n\
             X-Stainless-Package-Version: 2.1.0\r\nX-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\nX-Stainless-Runtime: CPython\r\n\
             X-Stainless-Runtime-Version: 3.11.7\r\nAuthorization: Bearer sk-proj-0123456789abcdef0123456789abcdef\r\n\
             X-Stainless-Async: false\r\nx-stainless-retry-count: 0\r\nContent-Length: {number}\r\n\r\n"
        )
    };
    let response = |number: usize| {
        format!(
            "HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 10:00:00 GMT\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\
             Connection: keep-alive\r\nAccess-Control-Expose-Headers: X-Request-ID\r\nOpenai-Organization: org\r\n\
             Openai-Processing-Ms: {number}\r\nOpenai-Version: 2020-10-01\r\nX-Ratelimit-Limit-Requests: 10000\r\n\
             X-Ratelimit-Remaining-Requests: 9999\r\nX-Request-Id: req_{number:032}\r\nStrict-Transport-Security: max-age=31536000\r\n\
             Cf-Cache-Status: DYNAMIC\r\nServer: cloudflare\r\nContent-Encoding: gzip\r\n\r\n"
        )
    };
    (1..=200).flat_map(|number| [(false, request(number).into()), (true, response(number).into())]).collect()
}

fn read_head(reader: &mut Heads, (is_response, head): &(bool, Bytes)) -> usize {
    if *is_response { reader.response(head) } else { reader.request(head) }
}

fn bare_head((is_response, head): &(bool, Bytes)) -> usize {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    if *is_response {
        let mut response = httparse::Response::new(&mut fields);
        if response.parse(head).is_ok() { response.headers.len() } else { 0 }
    } else {
        let mut request = httparse::Request::new(&mut fields);
        if request.parse(head).is_ok() { request.headers.len() } else { 0 }
    }
}

fn events() -> Bytes {
    let event = |number: usize| {
        format!(
            "data: {{\"id\":\"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG\",\"object\":\"chat.completion.chunk\",\"created\":1741570283,\
             \"model\":\"gpt-4o-2024-08-06\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_fc9f1d7035\",\"choices\":[{{\"index\":0,\
             \"delta\":{{\"content\":\" word{number}\"}},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
        )
    };
    Bytes::from((0..2000).map(event).collect::<String>())
}

/// What a reader does who only looks for lines, which may end in either way: each is taken out of the piece and looked at. An event is two of them.
fn lines(piece: &[u8]) -> usize {
    let mut from = 0;
    let look = |end: usize| {
        black_box(&piece[from..end]);
        from = end + 1;
    };
    memchr::memchr2_iter(b'\r', b'\n', piece).map(look).count()
}

fn chat() -> Bytes {
    let mut messages = String::from(r#"{"role":"system","content":"You are a careful shop assistant."}"#);
    let mut number = 0;
    while messages.len() < 180_000 {
        number += 1;
        let text =
            format!("Line {number}: the order of customer \\\"{number}\\\" was paid on Tuesday.\\nPlease check the total.\\n")
                .repeat(12);
        messages += &format!(
            r#",{{"role":"user","content":"{text}"}},{{"role":"assistant","content":null,"tool_calls":[{{"id":"call_{number}","type":"function","function":{{"name":"get_order","arguments":"{{\"order_id\": \"{number}\", \"full\": true}}"}}}}]}},{{"role":"tool","tool_call_id":"call_{number}","content":"{{\"status\":\"paid\",\"amount\":12.5,\"items\":[1,2,3]}}"}}"#
        );
    }
    let tool = |number: usize| {
        format!(
            r#"{{"type":"function","function":{{"name":"tool_{number}","description":"Does thing {number}.","parameters":{{"type":"object","properties":{{"order_id":{{"type":"string"}},"amount":{{"type":"number","minimum":0}}}},"required":["order_id"]}}}}}}"#
        )
    };
    let tools: Vec<String> = (0..20).map(tool).collect();
    let body =
        format!(r#"{{"model":"gpt-5","stream":false,"messages":[{messages}],"tools":[{}],"temperature":0.2}}"#, tools.join(","));
    assert!((182_000..190_000).contains(&body.len()), "a body of 186 KB, not {}", body.len());
    Bytes::from(body)
}

/// The model's name, and what the last message says.
fn fields(body: &Bytes) -> usize {
    let value = json::parse(body).value.expect("JSON");
    let last = value.get("messages").and_then(Value::as_list).and_then(<[Value]>::last);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map_or(0, str::len);
    text(value.get("model")) + text(last.and_then(|last| last.get("content")))
}

fn serde_fields(body: &Bytes) -> usize {
    let value: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    let last = value["messages"].as_array().and_then(|messages| messages.last());
    value["model"].as_str().map_or(0, str::len) + last.and_then(|last| last["content"].as_str()).map_or(0, str::len)
}

fn coded(plain: &Bytes) -> Vec<(&'static str, Bytes)> {
    let text = plain.repeat(4);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&text).expect("memory");
    let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    deflate.write_all(&text).expect("memory");
    vec![
        ("gzip", gzip.finish().expect("memory").into()),
        ("deflate", deflate.finish().expect("memory").into()),
        ("zstd", zstd::encode_all(&text[..], 3).expect("memory").into()),
    ]
}

/// The codec with the same buffers and nothing around it.
fn codec(coding: &str, pieces: &[Bytes]) -> usize {
    let mut room = vec![0; 16 << 10];
    let mut made = 0;
    if coding == "zstd" {
        use zstd::stream::raw::{InBuffer, Operation, OutBuffer};
        let mut decoder = zstd::stream::raw::Decoder::new().expect("memory");
        for piece in pieces {
            let mut input = InBuffer::around(piece);
            loop {
                let mut output = OutBuffer::around(&mut room[..]);
                decoder.run(&mut input, &mut output).expect("well formed");
                made += output.pos();
                if output.pos() < 16 << 10 && input.pos() == piece.len() {
                    break;
                }
            }
        }
        return made;
    }
    let mut inflate = if coding == "gzip" { flate2::Decompress::new_gzip(15) } else { flate2::Decompress::new(true) };
    for piece in pieces {
        let mut input = &piece[..];
        loop {
            let (taken, before) = (inflate.total_in(), inflate.total_out());
            inflate.decompress(input, &mut room, flate2::FlushDecompress::None).expect("well formed");
            input = &input[(inflate.total_in() - taken) as usize..];
            let got = (inflate.total_out() - before) as usize;
            made += got;
            if got < room.len() && input.is_empty() {
                break;
            }
        }
    }
    made
}

mod nghttp2 {
    //! As much of libnghttp2's HPACK interface as is needed.

    use std::ffi::{c_int, c_void};
    use std::ptr;

    #[repr(C)]
    struct Pair {
        name: *mut u8,
        value: *mut u8,
        name_length: usize,
        value_length: usize,
        flags: u8,
    }

    const FINAL: c_int = 1;
    const EMIT: c_int = 2;

    #[link(name = "nghttp2")]
    unsafe extern "C" {
        fn nghttp2_hd_inflate_new(out: *mut *mut c_void) -> c_int;
        fn nghttp2_hd_inflate_del(inflater: *mut c_void);
        fn nghttp2_hd_inflate_hd2(
            inflater: *mut c_void,
            pair: *mut Pair,
            flags: *mut c_int,
            input: *const u8,
            length: usize,
            is_final: c_int,
        ) -> isize;
        fn nghttp2_hd_inflate_end_headers(inflater: *mut c_void) -> c_int;
        fn nghttp2_hd_deflate_new(out: *mut *mut c_void, table: usize) -> c_int;
        fn nghttp2_hd_deflate_del(deflater: *mut c_void);
        fn nghttp2_hd_deflate_hd(deflater: *mut c_void, out: *mut u8, room: usize, pairs: *const Pair, count: usize) -> isize;
    }

    /// Octets of names and values in blocks of one connection.
    pub fn octets(blocks: &[Vec<u8>]) -> usize {
        let mut inflater = ptr::null_mut();
        // SAFETY: each call is as the library documents it; pairs are read before the next call.
        unsafe {
            assert_eq!(nghttp2_hd_inflate_new(&raw mut inflater), 0, "memory");
            let mut octets = 0;
            for block in blocks {
                let mut rest = &block[..];
                loop {
                    let mut pair =
                        Pair { name: ptr::null_mut(), value: ptr::null_mut(), name_length: 0, value_length: 0, flags: 0 };
                    let mut flags = 0;
                    let read = nghttp2_hd_inflate_hd2(inflater, &raw mut pair, &raw mut flags, rest.as_ptr(), rest.len(), 1);
                    rest = &rest[usize::try_from(read).expect("well formed")..];
                    if flags & EMIT != 0 {
                        octets += pair.name_length + pair.value_length;
                    }
                    if flags & FINAL != 0 {
                        nghttp2_hd_inflate_end_headers(inflater);
                        break;
                    }
                }
            }
            nghttp2_hd_inflate_del(inflater);
            octets
        }
    }

    /// Header blocks of one connection to a model's API.
    pub fn blocks() -> Vec<Vec<u8>> {
        let mut deflater = ptr::null_mut();
        // SAFETY: as the library documents it.
        assert_eq!(unsafe { nghttp2_hd_deflate_new(&raw mut deflater, 4096) }, 0, "memory");
        let blocks = (0..400).map(|number| encode(deflater, &fields(number))).collect();
        // SAFETY: made above, not used again.
        unsafe { nghttp2_hd_deflate_del(deflater) };
        blocks
    }

    fn fields(number: usize) -> Vec<(&'static str, String)> {
        let mut fields: Vec<(&str, String)> = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "api.anthropic.com"),
            (":path", "/v1/messages"),
            ("accept", "application/json"),
            ("accept-encoding", "gzip, deflate, br, zstd"),
            ("user-agent", "Anthropic/Python 1.12.0"),
            ("anthropic-version", "2023-06-01"),
            ("content-type", "application/json"),
            ("x-api-key", "sk-ant-0123456789abcdef0123456789abcdef"),
            ("x-stainless-lang", "python"),
            ("x-stainless-os", "Linux"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into();
        fields.push(("content-length", (1000 + number * 37).to_string()));
        fields.push(("x-request-id", format!("req_{:016x}{number:04}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
        fields
    }

    fn encode(deflater: *mut c_void, fields: &[(&str, String)]) -> Vec<u8> {
        let pair = |(name, value): &(&str, String)| Pair {
            name: name.as_ptr().cast_mut(),
            value: value.as_ptr().cast_mut(),
            name_length: name.len(),
            value_length: value.len(),
            flags: 0,
        };
        let pairs: Vec<Pair> = fields.iter().map(pair).collect();
        let mut block = vec![0; 4096];
        // SAFETY: the encoder only reads the pairs, and writes no more than there is room for.
        let length = unsafe { nghttp2_hd_deflate_hd(deflater, block.as_mut_ptr(), block.len(), pairs.as_ptr(), pairs.len()) };
        block.truncate(usize::try_from(length).expect("there is room"));
        block
    }
}
