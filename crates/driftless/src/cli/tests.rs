use clap::CommandFactory;

use super::*;
use crate::options::table::OPTIONS;

fn live_help() -> String {
    let mut whole = Cli::command();
    whole.build();
    whole.find_subcommand_mut("live").unwrap().render_long_help().to_string()
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn help_lists_what_works_and_nothing_else() {
    let help = live_help();
    let lists = |flag: &str| {
        help.split(|c: char| c.is_whitespace() || c == ',')
            .any(|word| word.trim_end_matches('.') == flag)
    };
    for row in OPTIONS {
        assert_eq!(lists(&row.flag()), row.supported(), "{}", row.flag());
        assert_eq!(row.help.is_empty(), !row.supported(), "{}", row.flag());
    }
    for own in ["--config", "--control", "--verbose", "--quiet", "--log-format", "--json-log"] {
        assert!(lists(own), "{own}");
    }
}

#[test]
fn every_line_of_help_fits_a_table_row_or_an_own_option() {
    let own = [
        "--config",
        "--control",
        "--verbose",
        "--quiet",
        "--log-format",
        "--json-log",
        "--help",
        "--version",
    ];
    for line in live_help().lines() {
        let Some(flag) = line
            .split([' ', ','])
            .find(|word| word.starts_with("--"))
            .map(|word| word.trim_end_matches('.'))
            .filter(|_| line.starts_with("  ") && line.trim_start().starts_with('-'))
        else {
            continue;
        };
        let known = OPTIONS.iter().any(|row| row.supported() && row.flag() == flag);
        assert!(known || own.contains(&flag), "{flag}");
    }
}
