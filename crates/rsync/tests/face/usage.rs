//! Command lines that are wrong are refused in the words of the real program.

use driftless_rsync::flags::interpret;

use crate::options::REFUSED;
use crate::stock::{Answer, Stock, bytes, environment, words};

#[test]
fn wrong_command_lines_are_refused_with_the_same_words_and_code() {
    let stock = Stock::new();
    let mut wrong = Vec::new();
    for set in REFUSED {
        // Options that end in a value that is missing must come last.
        let mut words = words(set, &[]);
        if !matches!(*set, "--info" | "-e") {
            words.extend(["s/".to_owned(), "h:d".to_owned()]);
        }
        let theirs = stock.run(&words);
        let ours = match interpret(&bytes(&words), &environment()) {
            Ok(_) => Answer::Refused("(accepted)".to_owned(), 0),
            Err(usage) => {
                let prefix = if usage.prefixed { "rsync: " } else { "" };
                Answer::Refused(format!("{prefix}{}", usage.text), i32::from(usage.code))
            }
        };
        if ours != theirs {
            wrong.push(format!("{set}\n  ours   {ours:?}\n  theirs {theirs:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
