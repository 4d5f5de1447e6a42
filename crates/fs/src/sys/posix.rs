//! What scripts know from the C library: its regular expressions and its `strftime`.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;

/// A POSIX extended regular expression, as `regcomp` reads it.
pub struct Regex {
    /// Boxed: the library may point into it.
    compiled: Box<libc::regex_t>,
}

/// `regcomp` does not take the pattern.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct BadPattern {
    /// What the C library says about it.
    pub message: String,
}

impl Regex {
    /// Compiles a pattern; `ignore_case` as `REG_ICASE`.
    ///
    /// # Errors
    /// What `regerror` says.
    pub fn new(pattern: &CStr, ignore_case: bool) -> Result<Self, BadPattern> {
        let case = if ignore_case { libc::REG_ICASE } else { 0 };
        let mut compiled = Box::new(MaybeUninit::<libc::regex_t>::zeroed());
        // SAFETY: the pattern is NUL-terminated and outlives the call; the target is a `regex_t` of
        // ours, and the library writes nothing else.
        let code = unsafe {
            libc::regcomp(
                compiled.as_mut_ptr(),
                pattern.as_ptr(),
                libc::REG_EXTENDED | libc::REG_NOSUB | case,
            )
        };
        if code != 0 {
            let mut text = [0u8; 256];
            // SAFETY: `compiled` is what the failed regcomp left, which regerror may be given; it
            // writes at most `text.len()` bytes, with a NUL.
            unsafe {
                libc::regerror(code, compiled.as_ptr(), text.as_mut_ptr().cast(), text.len());
            }
            let text = CStr::from_bytes_until_nul(&text).unwrap_or_default();
            return Err(BadPattern { message: text.to_string_lossy().into_owned() });
        }
        // SAFETY: regcomp returned 0, so the value is initialised.
        Ok(Self { compiled: unsafe { compiled.assume_init() } })
    }

    /// Whether the pattern matches anywhere in `text`.
    pub fn is_match(&self, text: &CStr) -> bool {
        // SAFETY: the expression is compiled and not freed, the text is NUL-terminated; with
        // REG_NOSUB no match is written, so none is passed.
        unsafe {
            libc::regexec(&raw const *self.compiled, text.as_ptr(), 0, std::ptr::null_mut(), 0) == 0
        }
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: compiled by regcomp, freed once.
        unsafe { libc::regfree(&raw mut *self.compiled) }
    }
}

/// A moment as text, in the local time zone, as `strftime` writes it; empty when that is empty or
/// longer than `limit` bytes.
pub fn local_time(format: &CStr, seconds: i64, limit: usize) -> CString {
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    let seconds = seconds as libc::time_t;
    // SAFETY: both point to values of ours for the call.
    if unsafe { libc::localtime_r(&raw const seconds, parts.as_mut_ptr()) }.is_null() {
        return CString::default();
    }
    let mut text = vec![0u8; limit];
    // SAFETY: `parts` was filled in, its zone name belongs to the library and lasts; the format is
    // NUL-terminated, and at most `limit` bytes are written.
    let len =
        unsafe { libc::strftime(text.as_mut_ptr().cast(), limit, format.as_ptr(), parts.as_ptr()) };
    text.truncate(len);
    CString::new(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &CStr, ignore_case: bool, text: &CStr) -> bool {
        Regex::new(pattern, ignore_case).unwrap().is_match(text)
    }

    #[test]
    fn extended_expressions_of_the_c_library_are_searched_for() {
        assert!(matches(c"(ab)\\1", false, c"xababx"));
        assert!(matches(c"^d/[[:digit:]]{2}$", false, c"d/12"));
        assert!(!matches(c"^d/[[:digit:]]{2}$", false, c"./d/12"));
        assert!(matches(c"\\.SWP$", true, c"a.swp") && !matches(c"\\.SWP$", false, c"a.swp"));
        assert!(matches(c"a.b", false, c"a\xffb"));
        assert!(matches(c"", false, c""));
    }

    #[test]
    fn a_bad_pattern_is_explained() {
        for pattern in [c"(", c"[", c"a{2,1}", c"\\"] {
            let Err(error) = Regex::new(pattern, false) else { panic!("{pattern:?} is taken") };
            assert!(!error.message.is_empty());
        }
    }

    #[test]
    fn times_are_written_by_the_given_format() {
        assert_eq!(local_time(c"%s", 86_400, 64).as_c_str(), c"86400");
        assert_eq!(local_time(c"", 0, 64).as_c_str(), c"");
        assert_eq!(local_time(c"%s", 86_400, 3).as_c_str(), c"");
    }
}
