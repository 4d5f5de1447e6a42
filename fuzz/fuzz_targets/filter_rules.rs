//! Rules from a peer or a file, and names tested against them: nothing panics or hangs.
//!
//! The input's lines are rules; the last line is the name. All of it is also the content of every
//! file that a rule may name.

#![no_main]

use std::io;

use driftless_filter::{Chain, Given, ParseOptions, ReadFile, Rules, Side};
use libfuzzer_sys::fuzz_target;

struct OneText<'t>(&'t [u8]);

impl ReadFile for OneText<'_> {
    fn read(&mut self, _path: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(Some(self.0.to_vec()))
    }
}

fuzz_target!(|input: &[u8]| {
    let mut lines: Vec<&[u8]> = input.split(|&b| b == b'\n').collect();
    let name = lines.pop().unwrap_or_default();
    let given: Vec<Given> = lines.into_iter().map(|line| Given::Received(line.to_vec())).collect();
    let options = ParseOptions {
        delete_excluded: input.len() % 2 == 0,
        from0: false,
        protocol: if input.len() % 3 == 0 { 28 } else { 32 },
        root: b"/srv/module".to_vec(),
        home_cvsignore: None,
        cvsignore: None,
    };
    let mut files = OneText(input);
    let Ok(rules) = Rules::parse(&given, &options, &mut files) else {
        return;
    };
    let _ = rules.wire_texts(options.protocol, options.delete_excluded);
    if let Ok(chain) = Chain::root(rules.into(), Side::Receiver, &mut files) {
        chain.check(name, true);
        chain.check_in_deleted(name, false);
    }
});
