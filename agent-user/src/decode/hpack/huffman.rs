//! The Huffman code of RFC 7541 appendix B, undone twelve bits at a time.
//!
//! In: a coded string. Out: its bytes, in a buffer. The code is canonical, so 257 lengths say all of it: the tables
//! below are computed from them when the crate is compiled. An own table rather than a crate: the crates that hold one keep it
//! private or decode a bit or a nibble a step, and this is the hottest loop of HTTP/2.

/// Code lengths of symbols 0 to 255 and of the end-of-string symbol 256.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28,
    28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7,
    6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24,
    23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22,
    23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27,
    26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25,
    24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

const END_OF_STRING: u16 = 256;
const LONGEST: usize = 30;

/// Bits looked at in one step: two of the common symbols fit.
const STEP: u32 = 12;

/// What the next [`STEP`] bits mean: one or two symbols, or the beginning of a code longer than that.
#[derive(Clone, Copy)]
struct Step {
    symbols: [u8; 2],
    /// Bits of the first symbol; 0 when its code is longer than a step.
    len1: u8,
    /// Bits of all symbols of this step, and above them how many symbols that are.
    len: u8,
}

/// Where [`Step::len`] counts symbols.
const COUNT: u32 = 4;

/// Symbols by code, shortest first, and for each length where its codes begin.
struct Canonical {
    symbols: [u16; 257],
    /// First code of each length, left-aligned in 32 bits.
    first: [u32; LONGEST + 2],
    /// Position in `symbols` of the first code of each length.
    start: [u16; LONGEST + 2],
}

static CANONICAL: Canonical = canonical();
static STEPS: [Step; 1 << STEP] = steps();

const fn canonical() -> Canonical {
    let mut table = Canonical { symbols: [0; 257], first: [0; LONGEST + 2], start: [0; LONGEST + 2] };
    let (mut code, mut position, mut length) = (0u64, 0, 1);
    while length <= LONGEST {
        table.first[length] = (code << (32 - length)) as u32;
        table.start[length] = position as u16;
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                table.symbols[position] = symbol as u16;
                position += 1;
                code += 1;
            }
            symbol += 1;
        }
        code <<= 1;
        length += 1;
    }
    // Past the last code: every 32 bits are below it or belong to the longest length.
    table.first[LONGEST + 1] = u32::MAX;
    table.start[LONGEST + 1] = position as u16;
    table
}

const fn steps() -> [Step; 1 << STEP] {
    let mut table = [Step { symbols: [0; 2], len1: 0, len: 0 }; 1 << STEP];
    let mut bits = 0;
    while bits < 1 << STEP {
        let window = (bits as u32) << (32 - STEP);
        let (symbol, len1) = symbol(window);
        if len1 <= STEP {
            let mut step = Step { symbols: [symbol as u8, 0], len1: len1 as u8, len: 1 << COUNT | len1 as u8 };
            let (second, len2) = self::symbol(window << len1);
            if len1 + len2 <= STEP {
                step.symbols[1] = second as u8;
                step.len = 2 << COUNT | (len1 + len2) as u8;
            }
            table[bits] = step;
        }
        bits += 1;
    }
    table
}

/// The symbol at the top of `window`, with its length.
const fn symbol(window: u32) -> (u16, u32) {
    let mut length = 5;
    while length < LONGEST && (CANONICAL.start[length + 1] == CANONICAL.start[length] || window >= limit(length)) {
        length += 1;
    }
    let offset = (window - CANONICAL.first[length]) >> (32 - length);
    (CANONICAL.symbols[CANONICAL.start[length] as usize + offset as usize], length as u32)
}

/// The first window that no code of this length or shorter begins.
const fn limit(length: usize) -> u32 {
    let codes = (CANONICAL.start[length + 1] - CANONICAL.start[length]) as u32;
    CANONICAL.first[length] + (codes << (32 - length))
}

/// The string holds the end-of-string symbol, or is not padded with its first bits (RFC 7541 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

/// The most bytes that so many coded ones can stand for (the shortest code has five bits), and room for a step.
fn most(coded: usize) -> usize {
    coded * 8 / 5 + 2
}

/// Most strings are shorter.
const SCRATCH: usize = 256;

/// Writes the bytes that `coded` stands for to the front of `out`, which grows but never shrinks, and gives their number.
pub(crate) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<usize, Invalid> {
    if out.len() < most(coded.len()) {
        out.resize(most(coded.len()).max(SCRATCH), 0);
    }
    let out = &mut out[..];
    // `bits` left-aligned bits of the string wait in `window`.
    let (mut window, mut bits, mut made) = (0u64, 0u32, 0);
    let mut rest = coded;
    loop {
        if let Some((word, _)) = rest.split_first_chunk::<8>() {
            // As many whole bytes as fit; those already there are or-ed with themselves.
            window |= u64::from_be_bytes(*word) >> bits;
            let taken = (63 - bits) / 8;
            rest = &rest[taken as usize..];
            bits += taken * 8;
        } else {
            while bits <= 56 {
                let Some((&byte, after)) = rest.split_first() else { break };
                window |= u64::from(byte) << (56 - bits);
                bits += 8;
                rest = after;
            }
        }
        if bits < LONGEST as u32 {
            break;
        }
        while bits >= LONGEST as u32 {
            let step = STEPS[(window >> (64 - STEP)) as usize];
            let length = if step.len1 == 0 {
                let (symbol, length) = symbol((window >> 32) as u32);
                if symbol == END_OF_STRING {
                    return Err(Invalid);
                }
                out[made] = symbol as u8;
                made += 1;
                length
            } else {
                // The second is overwritten by the next step when it is none.
                out[made..made + 2].copy_from_slice(&step.symbols);
                made += usize::from(step.len >> COUNT);
                u32::from(step.len) & ((1 << COUNT) - 1)
            };
            window <<= length;
            bits -= length;
        }
    }
    tail(window, bits, out, made)
}

/// The last bits; what is left over must be less than a byte of ones.
fn tail(mut window: u64, mut bits: u32, out: &mut [u8], mut made: usize) -> Result<usize, Invalid> {
    loop {
        // Ones behind the end: padding reads as the beginning of a long code.
        let padded = window | u64::MAX.checked_shr(bits).unwrap_or(0);
        // No code is so many ones and shorter than a byte.
        if bits < 8 && padded == u64::MAX {
            return Ok(made);
        }
        let step = STEPS[(padded >> (64 - STEP)) as usize];
        let both = u32::from(step.len) & ((1 << COUNT) - 1);
        if both > u32::from(step.len1) && both <= bits {
            out[made..made + 2].copy_from_slice(&step.symbols);
            made += 2;
            window <<= both;
            bits -= both;
            continue;
        }
        let (symbol, length) = match step.len1 {
            0 => symbol((padded >> 32) as u32),
            len1 => (u16::from(step.symbols[0]), u32::from(len1)),
        };
        if length > bits {
            return Err(Invalid);
        }
        if symbol == END_OF_STRING {
            return Err(Invalid);
        }
        out[made] = symbol as u8;
        made += 1;
        window <<= length;
        bits -= length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &[u8]) -> Vec<u8> {
        let (mut out, mut window, mut bits) = (Vec::new(), 0u64, 0);
        for &byte in text {
            let length = LENGTHS[byte as usize] as usize;
            let position =
                CANONICAL.symbols.iter().position(|&symbol| symbol == u16::from(byte)).expect("every symbol has a code");
            let code = (CANONICAL.first[length] >> (32 - length)) as usize + position - CANONICAL.start[length] as usize;
            window = window << length | code as u64;
            bits += length;
            while bits >= 8 {
                out.push((window >> (bits - 8)) as u8);
                bits -= 8;
            }
        }
        if bits > 0 {
            out.push((window << (8 - bits)) as u8 | 0xff >> bits);
        }
        out
    }

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, Invalid> {
        let mut out = Vec::new();
        let made = decode(coded, &mut out)?;
        out.truncate(made);
        Ok(out)
    }

    #[test]
    fn examples_of_the_specification() {
        // RFC 7541 appendix C.4 and C.6.
        let cases: [(&[u8], &[u8]); 4] = [
            (&[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff], b"www.example.com"),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], b"no-cache"),
            (&[0x64, 0x02], b"302"),
            (
                &[0x9d, 0x29, 0xad, 0x17, 0x18, 0x63, 0xc7, 0x8f, 0x0b, 0x97, 0xc8, 0xe9, 0xae, 0x82, 0xae, 0x43, 0xd3],
                b"https://www.example.com",
            ),
        ];
        for (coded, plain) in cases {
            assert_eq!(decoded(coded), Ok(plain.to_vec()));
            assert_eq!(encode(plain), coded);
        }
    }

    #[test]
    fn every_symbol_in_every_company() {
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                let text = [first, second, first, b'a', second, b'0', first, second, second];
                for length in 0..=text.len() {
                    assert_eq!(decoded(&encode(&text[..length])), Ok(text[..length].to_vec()));
                }
            }
        }
    }

    #[test]
    fn padding_is_less_than_a_byte_of_ones() {
        assert_eq!(decoded(&[]), Ok(vec![]));
        let cases: [&[u8]; 6] = [
            &[0xff],                                     // eight bits of padding
            &[0x00],                                     // '0' and three zero bits
            &[0xff, 0xff, 0xff, 0xff],                   // the end-of-string symbol
            &[0x1f, 0xff],                               // 'a' and eleven ones
            &[0xff, 0xff, 0xff, 0xfc, 0, 0, 0, 0, 0, 0], // the same in the fast loop
            &[0xff, 0xff, 0xff],                         // the first 24 bits of a long code
        ];
        for coded in cases {
            assert_eq!(decoded(coded), Err(Invalid), "{coded:?}");
        }
        assert_eq!(decoded(&[0x1f]), Ok(b"a".to_vec()));
    }
}
