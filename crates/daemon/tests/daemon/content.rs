//! Content as no honest peer sums or sends it: sums that are too short to tell anything, and compressed
//! tokens of blocks that there are none of.

use std::fs;
use std::os::unix::fs::MetadataExt;

use driftless_proto::sums::SumHead;

use crate::attacker::{Script, data_of, log_while, push_in_turn, rolling};
use crate::pair::{Daemon, OPEN, plant};

const CONTENT: u16 = 0x8000;

/// The file `a.txt`, whose number is 2.
const TEXT: &[u8] = b"hello\n";

/// MD5 of it behind a seed of 1, and by itself.
const SEEDED: u128 = 0x4ff4_4dee_588b_83d5_26eb_6fab_093f_708c;
const WHOLE: u128 = 0xb194_6ac9_2492_d234_7c62_35b4_d261_1184;

#[test]
fn a_sum_is_compared_as_far_as_it_was_sent_and_no_further() {
    let daemon = Daemon::ours(OPEN, plant);
    let args = ["--server", "--sender", "-ltre.LsfxCIvu", "--checksum-seed=1", ".", "w/"];
    let right = SEEDED.to_be_bytes();
    let sums = |script: Script, text: &[u8], strong: &[u8]| {
        let (strong_len, remainder) = (strong.len() as u32, text.len() as u32);
        let head = SumHead { count: 1, block_len: 700, strong_len, remainder };
        script.head(head).raw(&rolling(text).to_le_bytes()).raw(strong)
    };
    for after_another in [false, true] {
        let is_sent = |strong: &[u8]| {
            // No rules.
            let mut script = Script::new().raw(&[0; 4]);
            if after_another {
                script = sums(script.answer(1, CONTENT), b"key\n", &right);
            }
            let data = data_of(&daemon, &args, &sums(script.answer(2, CONTENT), TEXT, strong));
            data.windows(TEXT.len()).any(|part| part == TEXT)
        };
        // Where no digest was sent, nothing is known to be the same.
        assert!(is_sent(b""));
        for len in [1, 2, 3, 4, 16] {
            assert!(!is_sent(&right[..len]), "{len} bytes that are right");
            for at in 0..len {
                let mut wrong = right;
                wrong[at] ^= 1;
                assert!(is_sent(&wrong[..len]), "{len} bytes, wrong at {at}");
            }
        }
    }
}

/// Pushes `a.txt` as these tokens. Returns what the daemon logs, and whether it has the file.
#[track_caller]
fn pushed(daemon: &Daemon, choice: &str, tokens: &[u8]) -> (String, i32, bool) {
    let choice = format!("--compress-choice={choice}");
    let args = ["--server", "-ltrze.LsfxCIvu", &choice, ".", "w/"];
    let head = SumHead { count: 1, block_len: 700, strong_len: 2, remainder: 6 };
    let script = Script::new().dir(b".").file(b"a.txt", 6).end();
    let script = script.answer(1, CONTENT).head(head).raw(tokens).raw(&WHOLE.to_be_bytes());
    let (text, code) = log_while(daemon, || push_in_turn(daemon, &args, &script));
    (text, code, daemon.path("w/a.txt").metadata().unwrap().mtime() == 1_600_000_000)
}

#[test]
fn compressed_tokens_name_no_block_that_is_not_there() {
    let daemon = Daemon::ours(OPEN, plant);
    let block = |number: i32| [&[0x20][..], &number.to_le_bytes(), &[0]].concat();
    let run = |first: i32, more: u16| {
        [&[0x21][..], &first.to_le_bytes(), &more.to_le_bytes(), &[0]].concat()
    };
    let deflated = |len: u8, bytes: &[u8]| [&[0x40, len][..], bytes, &[0]].concat();
    for choice in ["zlib", "zlibx", "lz4", "zstd"] {
        for tokens in [
            block(1),
            block(-1),
            block(i32::MIN),
            block(i32::MAX),
            run(0, 1),
            run(0, u16::MAX),
            run(1, 0),
            run(-1, 1),
            run(i32::MAX, u16::MAX),
            run(i32::MIN, u16::MAX),
            // Relative to the last one.
            vec![0xbf, 0],
            vec![0x80, 0x81, 0],
            vec![0xff, 0xff, 0xff, 0],
            vec![0xc0, 0, 0, 0],
            [[0xff; 3].repeat(1_000), vec![0]].concat(),
            // No token at all, and no compressed data.
            vec![0x01],
            vec![0x3f, 0xff, 0xff, 0xff, 0xff, 0xff],
            deflated(16, &[0xff; 16]),
            deflated(1, &[0x06]),
        ] {
            let (text, code, is_there) = pushed(&daemon, choice, &tokens);
            let shown = tokens[..tokens.len().min(20)].escape_ascii();
            assert!(matches!(code, 2 | 12) && !is_there, "{choice} {shown}: {text}");
        }
        assert_eq!(fs::read(daemon.path("w/a.txt")).unwrap(), TEXT);
    }
    let log = fs::read_to_string(daemon.path("log")).unwrap();
    assert!(!log.contains("panicked") && !log.contains("ended by signal"), "{log}");
    // The block that is there.
    let (text, _, is_there) = pushed(&daemon, "zstd", &block(0));
    assert!(is_there, "{text}");
}
