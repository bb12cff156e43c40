//! Content codings undone step by step: gzip (RFC 1952, several members), deflate (zlib or raw), br (RFC 7932), zstd (RFC 8878),
//! stacked.
//!
//! In: coded bytes in any split. Out: decoded bytes through a callback, a piece of at most [`PIECE`] at a time, so a bomb is
//! noticed before it is anywhere in memory. A stream that is damaged or expands too far stops; what came before stands.
//!
//! flate2 over zlib-rs (inflate in safe Rust, at zlib-ng's speed) and brotli-decompressor (safe Rust, the reference decoder's
//! port) and the zstd library (RFC 8878's reference; pure Rust decoders are several times slower) all offer the step-wise
//! interface that a cap needs.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, InBuffer, Operation, OutBuffer};

use crate::base::Anomaly;
use crate::base::limits::{
    CONTENT_BYTES, CONTENT_LAYERS, CONTENT_MEMBER_WORK, CONTENT_WORK_FREE, CONTENT_WORK_RATIO, EXPANSION_FREE, EXPANSION_RATIO,
};

/// Decoded bytes that exist at once per layer.
const PIECE: usize = 16 << 10;

/// RFC 9659: a window above 8 MiB is refused, or each stream could ask for 128 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Expanded far beyond its size: a bomb.
pub(crate) const LIMIT_EXPANSION: Anomaly = Anomaly::new("limit.expansion_ratio");
/// Took more work than what came of it is worth.
pub(crate) const LIMIT_WORK: Anomaly = Anomaly::new("limit.content_work");
/// Larger than what is decoded of any body.
pub(crate) const LIMIT_BYTES: Anomaly = Anomaly::new("limit.content_bytes");
/// More codings stacked than anyone needs.
pub(crate) const LIMIT_LAYERS: Anomaly = Anomaly::new("limit.content_layers");
/// Bytes after the end of the coded stream: some readers drop them, some fail.
pub(crate) const TRAILING: Anomaly = Anomaly::new("content.ambiguous_trailing_bytes");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// Why a list of codings cannot be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Unknown,
    Layers,
}

impl Coding {
    /// The codings of one or more `Content-Encoding` values in the order they were applied; `identity` is none.
    pub(crate) fn list<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Coding>, Refused> {
        let mut codings = Vec::new();
        for token in values.flat_map(|value| value.split(|&byte| byte == b',')) {
            match token.trim_ascii().to_ascii_lowercase().as_slice() {
                b"" | b"identity" => {}
                b"gzip" | b"x-gzip" => codings.push(Coding::Gzip),
                b"deflate" => codings.push(Coding::Deflate),
                b"br" => codings.push(Coding::Brotli),
                b"zstd" => codings.push(Coding::Zstd),
                _ => return Err(Refused::Unknown),
            }
            if codings.len() > CONTENT_LAYERS {
                return Err(Refused::Layers);
            }
        }
        Ok(codings)
    }

    /// `outer` go on top.
    pub(crate) fn stack(mut codings: Vec<Coding>, outer: Option<&[Coding]>) -> Result<Vec<Coding>, Refused> {
        codings.extend_from_slice(outer.ok_or(Refused::Unknown)?);
        if codings.len() > CONTENT_LAYERS { Err(Refused::Layers) } else { Ok(codings) }
    }
}

/// Why decoding stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Damaged,
    /// Expands too far.
    Bomb,
    /// Takes too much work.
    Work,
    /// Gives too many bytes.
    Length,
}

impl Fault {
    /// The bound that stopped it; `None` for damage.
    pub(crate) fn limit(self) -> Option<Anomaly> {
        match self {
            Fault::Damaged => None,
            Fault::Bomb => Some(LIMIT_EXPANSION),
            Fault::Work => Some(LIMIT_WORK),
            Fault::Length => Some(LIMIT_BYTES),
        }
    }
}

/// A stack of codings being undone.
pub(crate) struct Decoder {
    /// The last applied coding first.
    layers: Vec<Layer>,
    raw: u64,
}

impl Decoder {
    /// `codings` in the order they were applied.
    pub(crate) fn new(codings: &[Coding]) -> Decoder {
        Decoder { layers: codings.iter().rev().map(|&coding| Layer::new(coding)).collect(), raw: 0 }
    }

    /// Whether decoded bytes came out already.
    pub(crate) fn has_output(&self) -> bool {
        self.layers.last().is_some_and(|layer| layer.made > 0)
    }

    pub(crate) fn push(&mut self, input: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        run(&mut self.layers, &mut self.raw, input, true, sink)
    }

    /// Whether the stream may end here.
    pub(crate) fn is_complete(&self) -> bool {
        self.layers.iter().all(Layer::may_end)
    }

    pub(crate) fn has_trailing(&self) -> bool {
        self.layers.iter().any(|layer| layer.trailing)
    }
}

/// Feeds `input` to the first layer and what it makes to the rest.
fn run(layers: &mut [Layer], raw: &mut u64, mut input: &[u8], outermost: bool, sink: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
    let Some((layer, inner)) = layers.split_first_mut() else {
        sink(input);
        return Ok(());
    };
    let mut piece = [0; PIECE];
    loop {
        let step = layer.step(&input[..layer.due(input.len())], &mut piece);
        input = &input[step.taken..];
        layer.taken += step.taken as u64;
        if outermost {
            *raw += step.taken as u64;
        }
        let allowed = layer.allow(step.made, *raw);
        if allowed > 0 {
            run(inner, raw, &piece[..allowed], false, sink)?;
        }
        if allowed < step.made {
            return Err(if layer.made == CONTENT_BYTES { Fault::Length } else { Fault::Bomb });
        }
        if step.damaged {
            return Err(Fault::Damaged);
        }
        if step.made < PIECE && layer.works_for_nothing() {
            return Err(Fault::Work);
        }
        if step.made < PIECE && (input.is_empty() || step.taken == 0 && step.made == 0) {
            return Ok(());
        }
    }
}

#[derive(Default)]
struct Step {
    taken: usize,
    /// Counts also what came out before the damage.
    made: usize,
    damaged: bool,
}

impl Step {
    const DAMAGED: Step = Step { taken: 0, made: 0, damaged: true };

    fn drop_all(input: &[u8]) -> Step {
        Step { taken: input.len(), ..Step::default() }
    }
}

struct Layer {
    codec: Codec,
    taken: u64,
    made: u64,
    /// Streams begun behind the first.
    members: u64,
    started: bool,
    /// The codec's stream is at an end.
    ended: bool,
    trailing: bool,
}

enum Codec {
    Gzip(Decompress),
    /// zlib or raw: the first two bytes tell; until then they wait here.
    Deflate {
        waiting: Option<u8>,
        inflate: Option<Decompress>,
    },
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    Zstd(Option<zstd::stream::raw::Decoder<'static>>),
}

const GZIP_WINDOW_BITS: u8 = 15;

impl Layer {
    fn new(coding: Coding) -> Layer {
        let codec = match coding {
            Coding::Gzip => Codec::Gzip(Decompress::new_gzip(GZIP_WINDOW_BITS)),
            Coding::Deflate => Codec::Deflate { waiting: None, inflate: None },
            Coding::Brotli => Codec::Brotli(Box::new(BrotliState::new(
                StandardAlloc::default(),
                StandardAlloc::default(),
                StandardAlloc::default(),
            ))),
            Coding::Zstd => Codec::Zstd(zstd_decoder()),
        };
        Layer { codec, taken: 0, made: 0, members: 0, started: false, ended: false, trailing: false }
    }

    fn may_end(&self) -> bool {
        !self.started || self.ended
    }

    /// How much of the input goes in at once: work is looked at where another [`CONTENT_WORK_FREE`] bytes are in, so that the answer
    /// does not depend on how the input was cut.
    fn due(&self, input: usize) -> usize {
        let due = CONTENT_WORK_FREE - self.taken % CONTENT_WORK_FREE;
        usize::try_from(due).map_or(input, |due| due.min(input))
    }

    fn works_for_nothing(&self) -> bool {
        let work = self.taken + self.members * CONTENT_MEMBER_WORK;
        self.taken > 0
            && self.taken.is_multiple_of(CONTENT_WORK_FREE)
            && work > CONTENT_WORK_FREE + self.made.saturating_mul(CONTENT_WORK_RATIO)
    }

    /// How many of `made` new bytes may pass. The ratio is looked at whenever another [`EXPANSION_FREE`] bytes are full, so
    /// that the answer does not depend on how the input was cut.
    fn allow(&mut self, made: usize, raw: u64) -> usize {
        let before = self.made;
        self.made += made as u64;
        let full = self.made.saturating_sub(1) / EXPANSION_FREE * EXPANSION_FREE;
        if full > 0 && full >= before && full > raw.saturating_mul(EXPANSION_RATIO) {
            self.made = full;
            return usize::try_from(full - before).expect("no more than one piece");
        }
        if self.made > CONTENT_BYTES {
            self.made = CONTENT_BYTES;
            return usize::try_from(CONTENT_BYTES - before).expect("no more than one piece");
        }
        made
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        if !input.is_empty() {
            self.started = true;
        }
        let Layer { codec, ended, trailing, members, .. } = self;
        match codec {
            Codec::Gzip(inflate) => {
                if *ended && !input.is_empty() {
                    // Another member, or bytes that belong to nobody (RFC 1952 section 2.2).
                    if *trailing || input[0] != 0x1f {
                        *trailing = true;
                        return Step::drop_all(input);
                    }
                    *inflate = Decompress::new_gzip(GZIP_WINDOW_BITS);
                    *ended = false;
                    *members += 1;
                }
                step_inflate(inflate, input, output, ended)
            }
            Codec::Deflate { waiting, inflate } => step_deflate(waiting, inflate, input, output, ended, trailing),
            Codec::Brotli(state) => {
                if *ended {
                    *trailing |= !input.is_empty();
                    return Step::drop_all(input);
                }
                step_brotli(state, input, output, ended)
            }
            Codec::Zstd(Some(decoder)) => {
                *members += u64::from(*ended && !input.is_empty());
                step_zstd(decoder, input, output, ended)
            }
            Codec::Zstd(None) => Step::DAMAGED,
        }
    }
}

fn zstd_decoder() -> Option<zstd::stream::raw::Decoder<'static>> {
    let mut decoder = zstd::stream::raw::Decoder::new().ok()?;
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).ok()?;
    Some(decoder)
}

fn step_inflate(inflate: &mut Decompress, input: &[u8], output: &mut [u8], ended: &mut bool) -> Step {
    let (taken, made) = (inflate.total_in(), inflate.total_out());
    let status = inflate.decompress(input, output, FlushDecompress::None);
    *ended = matches!(status, Ok(Status::StreamEnd));
    let difference = |now: u64, before: u64| usize::try_from(now - before).expect("bounded by the slices given");
    Step { taken: difference(inflate.total_in(), taken), made: difference(inflate.total_out(), made), damaged: status.is_err() }
}

/// RFC 9110 section 8.4.1.2 means zlib; some servers send raw deflate.
fn step_deflate(
    waiting: &mut Option<u8>,
    inflate: &mut Option<Decompress>,
    input: &[u8],
    output: &mut [u8],
    ended: &mut bool,
    trailing: &mut bool,
) -> Step {
    if *ended {
        *trailing |= !input.is_empty();
        return Step::drop_all(input);
    }
    if let Some(inflate) = inflate {
        return step_inflate(inflate, input, output, ended);
    }
    let (first, second) = match (*waiting, input) {
        (_, []) => return Step::default(),
        (None, [first]) => {
            *waiting = Some(*first);
            return Step::drop_all(input);
        }
        (None, [first, second, ..]) => (*first, *second),
        (Some(first), [second, ..]) => (first, *second),
    };
    let is_zlib = first & 0x0f == 8 && (u16::from(first) << 8 | u16::from(second)).is_multiple_of(31);
    let inflate = inflate.insert(Decompress::new(is_zlib));
    if let Some(first) = waiting.take() {
        // One byte of a stream holds a block header at most: nothing comes out of it yet.
        if step_inflate(inflate, &[first], output, ended).damaged {
            return Step::DAMAGED;
        }
    }
    step_inflate(inflate, input, output, ended)
}

fn step_brotli(
    state: &mut BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    input: &[u8],
    output: &mut [u8],
    ended: &mut bool,
) -> Step {
    let (mut left, mut taken, mut room, mut made, mut total) = (input.len(), 0, output.len(), 0, 0);
    let result = BrotliDecompressStream(&mut left, &mut taken, input, &mut room, &mut made, output, &mut total, state);
    *ended = matches!(result, BrotliResult::ResultSuccess);
    Step { taken, made, damaged: matches!(result, BrotliResult::ResultFailure) }
}

fn step_zstd(decoder: &mut zstd::stream::raw::Decoder<'static>, input: &[u8], output: &mut [u8], ended: &mut bool) -> Step {
    if input.is_empty() && *ended {
        return Step::default();
    }
    let mut input = InBuffer::around(input);
    let mut output = OutBuffer::around(output);
    let result = decoder.run(&mut input, &mut output);
    // Zero: a frame is done and flushed; the next byte begins another.
    *ended = matches!(result, Ok(0));
    Step { taken: input.pos(), made: output.pos(), damaged: result.is_err() }
}

#[cfg(any(test, feature = "fuzz"))]
pub fn fuzz(data: &[u8]) {
    let Some((&kind, coded)) = data.split_first() else { return };
    let all = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];
    let codings = [all[usize::from(kind & 3)], all[usize::from(kind >> 2 & 3)]];
    let mut decoder = Decoder::new(&codings[..1 + usize::from(kind >> 4 & 1)]);
    let mut made = 0;
    let _stopped = decoder.push(coded, &mut |piece| made += piece.len());
    let most = (coded.len() as u64).saturating_mul(EXPANSION_RATIO).max(EXPANSION_FREE) + EXPANSION_FREE;
    assert!(made as u64 <= most, "no more comes out than the bound allows");
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    /// `hello brotli, hello brotli, hello brotli` by the reference encoder.
    const BROTLI: &str = "1b2700f81d09364e746f2486d7626568721a84858d4eb2a5bd0553f100cc0cbf04";
    /// 8 MiB of zeros in 14 bytes.
    const BROTLI_BOMB: &str = "cbffff3f002400e2b14072efff06";

    fn hex(text: &str) -> Vec<u8> {
        let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
        (0..text.len()).step_by(2).map(byte).collect()
    }

    fn encode(coding: Coding, plain: &[u8]) -> Vec<u8> {
        match coding {
            Coding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(plain).and_then(|()| encoder.finish())
            }
            Coding::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(plain).and_then(|()| encoder.finish())
            }
            Coding::Zstd => zstd::encode_all(plain, 3),
            Coding::Brotli => unreachable!("there is no encoder here"),
        }
        .expect("writing to memory works")
    }

    fn raw_deflate(plain: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).and_then(|()| encoder.finish()).expect("writing to memory works")
    }

    #[derive(Debug, PartialEq, Eq)]
    struct Decoded {
        plain: Vec<u8>,
        fault: Option<Fault>,
        complete: bool,
        trailing: bool,
    }

    fn decode<'a>(codings: &[Coding], pieces: impl Iterator<Item = &'a [u8]>) -> Decoded {
        let mut decoder = Decoder::new(codings);
        let mut plain = Vec::new();
        let mut fault = None;
        for piece in pieces {
            fault = decoder.push(piece, &mut |piece| plain.extend_from_slice(piece)).err();
            if fault.is_some() {
                break;
            }
        }
        Decoded { plain, fault, complete: decoder.is_complete(), trailing: decoder.has_trailing() }
    }

    #[track_caller]
    fn check(codings: &[Coding], coded: &[u8], expected: &Decoded) {
        assert_eq!(&decode(codings, std::iter::once(coded)), expected);
        assert_eq!(&decode(codings, coded.chunks(1)), expected, "one byte at a time");
        let step = (coded.len() / 100).max(1);
        for cut in (0..coded.len()).step_by(step) {
            let (head, tail) = coded.split_at(cut);
            assert_eq!(&decode(codings, [head, tail].into_iter()), expected, "cut at {cut}");
        }
    }

    fn whole(plain: &[u8]) -> Decoded {
        Decoded { plain: plain.to_vec(), fault: None, complete: true, trailing: false }
    }

    fn noise(length: u32) -> Vec<u8> {
        let mut state = 1u32;
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                b'a' + (state >> 28) as u8
            })
            .collect()
    }

    #[test]
    fn every_coding_in_every_cut() {
        for plain in [&b""[..], b"x", b"hello hello hello", &noise(30_000)] {
            for coding in [Coding::Gzip, Coding::Deflate, Coding::Zstd] {
                check(&[coding], &encode(coding, plain), &whole(plain));
            }
            check(&[Coding::Deflate], &raw_deflate(plain), &whole(plain));
            let stacked = encode(Coding::Zstd, &encode(Coding::Gzip, plain));
            check(&[Coding::Gzip, Coding::Zstd], &stacked, &whole(plain));
        }
        check(&[Coding::Brotli], &hex(BROTLI), &whole(b"hello brotli, hello brotli, hello brotli"));
        check(
            &[Coding::Brotli, Coding::Gzip],
            &encode(Coding::Gzip, &hex(BROTLI)),
            &whole(b"hello brotli, hello brotli, hello brotli"),
        );
    }

    #[test]
    fn several_members() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let coded = [encode(coding, b"one "), encode(coding, b""), encode(coding, b"two")].concat();
            check(&[coding], &coded, &whole(b"one two"));
        }
    }

    #[test]
    fn bytes_after_the_end() {
        for (coding, coded) in [
            (Coding::Gzip, encode(Coding::Gzip, b"x")),
            (Coding::Deflate, encode(Coding::Deflate, b"x")),
            (Coding::Deflate, raw_deflate(b"x")),
        ] {
            check(&[coding], &[&coded[..], b"tail"].concat(), &Decoded { trailing: true, ..whole(b"x") });
        }
        let coded = [&hex(BROTLI)[..], b"tail"].concat();
        check(&[Coding::Brotli], &coded, &Decoded { trailing: true, ..whole(b"hello brotli, hello brotli, hello brotli") });
    }

    #[test]
    fn cut_streams_are_not_complete() {
        let plain = noise(5_000);
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Zstd] {
            let coded = encode(coding, &plain);
            for length in 1..coded.len() {
                let decoded = decode(&[coding], std::iter::once(&coded[..length]));
                assert!(!decoded.complete && decoded.fault.is_none(), "{coding:?} cut at {length}");
                assert!(plain.starts_with(&decoded.plain));
            }
        }
    }

    #[test]
    fn damage_keeps_what_came_before() {
        let plain = noise(5_000);
        let mut coded = encode(Coding::Gzip, &plain);
        let last = coded.len() - 1;
        coded[last - 4] ^= 1;
        check(&[Coding::Gzip], &coded, &Decoded { fault: Some(Fault::Damaged), complete: false, ..whole(&plain) });
        for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd] {
            let decoded = decode(&[coding], std::iter::once(&b"{\"plain\": \"text\"}"[..]));
            assert_eq!((decoded.plain.as_slice(), decoded.fault), (&b""[..], Some(Fault::Damaged)), "{coding:?}");
        }
    }

    #[test]
    fn a_zstd_window_that_asks_for_too_much() {
        // RFC 8878 section 3.1.1: magic, a frame header without a checksum, and a window of 2^27.
        let coded = [0x28, 0xb5, 0x2f, 0xfd, 0x00, (27 - 10) << 3, 0x01, 0x00, 0x00];
        assert_eq!(decode(&[Coding::Zstd], std::iter::once(&coded[..])).fault, Some(Fault::Damaged));
    }

    #[test]
    fn expansion_at_the_edge() {
        let free = usize::try_from(EXPANSION_FREE).expect("fits");
        let bomb = |decoded: &Decoded| decoded.fault == Some(Fault::Bomb) && decoded.plain == vec![0; free];
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Zstd] {
            let fits = encode(coding, &vec![0; free]);
            assert_eq!(decode(&[coding], std::iter::once(&fits[..])), whole(&vec![0; free]));
            let decoded = decode(&[coding], std::iter::once(&encode(coding, &vec![0; free + 1])[..]));
            assert!(bomb(&decoded), "{coding:?}");
            let twice = encode(coding, &encode(coding, &vec![0; 4 * free]));
            assert_eq!(decode(&[coding, coding], std::iter::once(&twice[..])).fault, Some(Fault::Bomb), "{coding:?} twice");
        }
        assert!(bomb(&decode(&[Coding::Brotli], std::iter::once(&hex(BROTLI_BOMB)[..]))));
    }

    /// What the decoder makes of the same coded bytes again and again.
    fn repeated(coding: Coding, coded: &[u8], times: usize) -> (u64, Option<Fault>) {
        let (mut decoder, mut made) = (Decoder::new(&[coding]), 0);
        let fault = (0..times).find_map(|_| decoder.push(coded, &mut |piece| made += piece.len() as u64).err());
        (made, fault)
    }

    #[test]
    fn work_at_the_edge() {
        let free = usize::try_from(CONTENT_WORK_FREE).expect("fits");
        // A stored block without content, not the last.
        let blocks = |bytes: usize| [0, 0, 0, 0xff, 0xff].repeat(bytes / 5);
        for (bytes, fault) in [(2 * free - 5, None), (2 * free + 5, Some(Fault::Work))] {
            let coded = blocks(bytes);
            assert_eq!(decode(&[Coding::Deflate], std::iter::once(&coded[..])).fault, fault);
            assert_eq!(decode(&[Coding::Deflate], coded.chunks(997)).fault, fault);
        }
        for coding in [Coding::Gzip, Coding::Zstd] {
            let empty = encode(coding, b"");
            assert_eq!(repeated(coding, &empty, free / empty.len() - 1), (0, None), "{coding:?}");
            assert_eq!(repeated(coding, &empty, free / empty.len() + 1), (0, Some(Fault::Work)), "{coding:?}");
            let honest = noise(3_000);
            assert_eq!(repeated(coding, &encode(coding, &honest), 2_000), (6_000_000, None), "{coding:?}");
        }
    }

    #[test]
    fn bytes_at_the_edge() {
        let member = encode(Coding::Zstd, &noise(1 << 20));
        let most = usize::try_from(CONTENT_BYTES >> 20).expect("fits");
        assert_eq!(repeated(Coding::Zstd, &member, most), (CONTENT_BYTES, None));
        assert_eq!(repeated(Coding::Zstd, &member, most + 1), (CONTENT_BYTES, Some(Fault::Length)));
    }

    #[test]
    fn names_of_codings() {
        let list = |values: &[&str]| Coding::list(values.iter().map(|value| value.as_bytes()));
        use Coding::{Brotli, Deflate, Gzip, Zstd};
        assert_eq!(list(&["gzip, X-GZIP"]), Ok(vec![Gzip, Gzip]));
        assert_eq!(list(&["identity", "br"]), Ok(vec![Brotli]));
        assert_eq!(list(&["deflate ,zstd"]), Ok(vec![Deflate, Zstd]));
        assert_eq!(list(&["", " , "]), Ok(vec![]));
        assert_eq!(list(&["compress"]), Err(Refused::Unknown));
        assert_eq!(list(&["br, br", "br"]), Err(Refused::Layers));
    }
}
