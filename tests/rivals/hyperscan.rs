//! Debian's Hyperscan: literals compiled to one database, block mode, one scratch.

use std::ffi::{CString, c_char, c_int, c_uint, c_ulonglong, c_void};

type OnMatch = unsafe extern "C" fn(c_uint, c_ulonglong, c_ulonglong, c_uint, *mut c_void) -> c_int;

#[link(name = "hs")]
unsafe extern "C" {
    fn hs_compile_multi(
        expressions: *const *const c_char,
        flags: *const c_uint,
        ids: *const c_uint,
        elements: c_uint,
        mode: c_uint,
        platform: *const c_void,
        database: *mut *mut c_void,
        error: *mut *mut c_void,
    ) -> c_int;
    fn hs_alloc_scratch(database: *const c_void, scratch: *mut *mut c_void) -> c_int;
    fn hs_scan(
        database: *const c_void,
        data: *const c_char,
        length: c_uint,
        flags: c_uint,
        scratch: *mut c_void,
        on_match: OnMatch,
        context: *mut c_void,
    ) -> c_int;
}

pub struct Scanner {
    database: *mut c_void,
    scratch: *mut c_void,
}

unsafe extern "C" fn count(_id: c_uint, _from: c_ulonglong, _to: c_ulonglong, _flags: c_uint, context: *mut c_void) -> c_int {
    // SAFETY: `scan` passes a counter that lives until it returns.
    unsafe { *context.cast::<usize>() += 1 };
    0
}

impl Scanner {
    /// Case-insensitive, as the engine's own search is.
    pub fn new(words: &[String]) -> Scanner {
        const CASELESS: c_uint = 1;
        const BLOCK: c_uint = 1;
        let texts: Vec<CString> = words.iter().map(|word| CString::new(word.as_str()).expect("no zero inside")).collect();
        let pointers: Vec<*const c_char> = texts.iter().map(|text| text.as_ptr()).collect();
        let flags = vec![CASELESS; words.len()];
        let count = c_uint::try_from(words.len()).expect("few words");
        let ids: Vec<c_uint> = (0..count).collect();
        let (mut database, mut scratch, mut error) = (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the arrays have `count` elements and outlive the call; the results are checked.
        unsafe {
            let compiled = hs_compile_multi(
                pointers.as_ptr(),
                flags.as_ptr(),
                ids.as_ptr(),
                count,
                BLOCK,
                std::ptr::null(),
                &mut database,
                &mut error,
            );
            assert_eq!(compiled, 0, "hs_compile_multi");
            assert_eq!(hs_alloc_scratch(database, &mut scratch), 0, "hs_alloc_scratch");
        }
        Scanner { database, scratch }
    }

    /// Hits in the text.
    pub fn scan(&self, text: &[u8]) -> usize {
        let mut hits = 0_usize;
        let length = c_uint::try_from(text.len()).expect("a short text");
        // SAFETY: database and scratch are those of `new`; the counter outlives the call.
        let outcome = unsafe {
            hs_scan(self.database, text.as_ptr().cast(), length, 0, self.scratch, count, (&raw mut hits).cast())
        };
        assert_eq!(outcome, 0, "hs_scan");
        hits
    }
}
