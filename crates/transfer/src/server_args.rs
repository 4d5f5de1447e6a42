//! The arguments that the server of a push gets, in the order in which rsync sends them. Protocol
//! reference, "Remote-shell command line" and "Daemon argument list".

use std::time::Duration;

use driftless_proto::args::put_quoted_value;

use crate::options::{CompressChoice, TransferOptions};
use crate::push::{ListPush, TreePush};

/// What kind of push the arguments are for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PushKind<'a> {
    List(&'a ListPush),
    Tree(&'a TreePush),
}

impl PushKind<'_> {
    /// Whether the receiving side gets a filter list.
    pub(crate) fn sends_filters(self) -> bool {
        match self {
            Self::List(list) => list.filter_texts.is_some(),
            Self::Tree(tree) => tree.delete || tree.delete_excluded,
        }
    }

    /// Whether incremental recursion is offered. The server declines it where it cannot.
    ///
    /// Not together with hard links: a daemon of 3.5.0 waits for ever when the member of a group
    /// that it asked for does not come over (we refuse it, it changes while it is read, or the
    /// target cannot write it), its old version exists there, and further members follow. Nothing
    /// fails in a dry run.
    fn incremental(self, options: &TransferOptions) -> bool {
        self.recursive() && (self.dry_run() || !options.hard_links)
    }

    fn recursive(self) -> bool {
        matches!(self, Self::Tree(TreePush { shallow: false, .. }))
    }

    pub(crate) fn dry_run(self) -> bool {
        matches!(self, Self::Tree(TreePush { dry_run: true, .. }))
    }

    pub(crate) fn checksum(self) -> bool {
        matches!(self, Self::Tree(TreePush { checksum: true, .. }))
    }
}

/// The whole list for a daemon, from `--server` to the destination.
pub(crate) fn daemon_args(
    options: &TransferOptions,
    kind: PushKind<'_>,
    module: &str,
    path: &[u8],
) -> Vec<Vec<u8>> {
    let mut args = vec![b"--server".to_vec(), letters(options, kind)];
    long_options(options, kind, &mut args);
    args.push(b".".to_vec());
    args.push(destination(module, path));
    args
}

fn letters(options: &TransferOptions, kind: PushKind<'_>) -> Vec<u8> {
    let list = matches!(kind, PushKind::List(_));
    let ignore_times = match kind {
        PushKind::List(list) => list.ignore_times,
        PushKind::Tree(tree) => tree.ignore_times,
    };
    let compress = match options.compress {
        CompressChoice::Negotiate | CompressChoice::Zlib => true,
        CompressChoice::Off
        | CompressChoice::Zstd
        | CompressChoice::Lz4
        | CompressChoice::Zlibx => false,
    };
    let table = [
        (kind.dry_run(), b'n'),
        (options.links, b'l'),
        (!kind.recursive(), b'd'),
        (options.omit_dir_times, b'O'),
        (options.omit_link_times, b'J'),
        (options.whole_file == Some(true), b'W'),
        (options.hard_links, b'H'),
        (options.owner, b'o'),
        (options.group, b'g'),
        (options.devices, b'D'),
        (options.times, b't'),
        (options.perms, b'p'),
        (kind.recursive(), b'r'),
        (kind.checksum(), b'c'),
        (ignore_times, b'I'),
        (list, b'R'),
        (options.sparse, b'S'),
        (compress, b'z'),
    ];
    let mut word = vec![b'-'];
    word.extend(table.iter().filter(|(on, _)| *on).map(|(_, letter)| letter));
    word.extend_from_slice(b"e.");
    if kind.incremental(options) {
        word.push(b'i');
    }
    word.extend_from_slice(b"LsfxCIvu");
    word
}

fn long_options(options: &TransferOptions, kind: PushKind<'_>, args: &mut Vec<Vec<u8>>) {
    let mut flag = |on: bool, text: &str| {
        if on {
            args.push(text.as_bytes().to_vec());
        }
    };
    if let PushKind::Tree(tree) = kind {
        flag(tree.shallow && (tree.delete || tree.delete_excluded), "--no-r");
    }
    if let Some(level) = options.compress_level.filter(|_| options.compress != CompressChoice::Off)
    {
        flag(true, &format!("--compress-level={level}"));
    }
    flag(options.devices && !options.specials, "--no-specials");
    flag(options.specials && !options.devices, "--specials");
    if let Some(len) = options.block_size {
        flag(true, &format!("-B{len}"));
    }
    if let Some(timeout) = options.timeout {
        flag(true, &format!("--timeout={}", whole_seconds(timeout)));
    }
    if let Some(rate) = options.bwlimit {
        flag(true, &format!("--bwlimit={}", rate.div_ceil(1024)));
    }
    if let Some(choice) = options.checksum_choice {
        flag(true, &format!("--checksum-choice={}", choice.name()));
    }
    match options.compress {
        CompressChoice::Zlibx => flag(true, "--new-compress"),
        CompressChoice::Zlib => flag(true, "--old-compress"),
        CompressChoice::Zstd => flag(true, "--compress-choice=zstd"),
        CompressChoice::Lz4 => flag(true, "--compress-choice=lz4"),
        CompressChoice::Off | CompressChoice::Negotiate => {}
    }
    match kind {
        PushKind::List(list) => {
            flag(list.filter_texts.is_some(), "--delete");
            flag(list.force, "--force");
            flag(list.size_only, "--size-only");
            flag(list.missing_args, "--delete-missing-args");
        }
        PushKind::Tree(tree) => {
            if let Some(most) = tree.max_delete {
                // A zero would be taken as "not given".
                let most = if most == 0 { "-1".to_owned() } else { most.to_string() };
                flag(true, &format!("--max-delete={most}"));
            }
            flag(tree.delete && !tree.delete_excluded, "--delete");
            flag(tree.delete_excluded, "--delete-excluded");
            flag(tree.force, "--force");
            flag(tree.size_only, "--size-only");
        }
    }
    match options.modify_window {
        0 => {}
        window if window < 0 => flag(true, &format!("-@{window}")),
        window => flag(true, &format!("--modify-window={window}")),
    }
    if let Some(seed) = options.checksum_seed {
        flag(true, &format!("--checksum-seed={seed}"));
    }
    flag(options.delay_updates, "--delay-updates");
    flag(matches!(kind, PushKind::Tree(TreePush { ignore_errors: true, .. })), "--ignore-errors");
    flag(options.numeric_ids, "--numeric-ids");
    if let Some(dir) = &options.temp_dir {
        args.push(b"--temp-dir".to_vec());
        args.push(quoted(dir));
    }
    let mut flag = |on: bool, text: &str| {
        if on {
            args.push(text.as_bytes().to_vec());
        }
    };
    flag(options.fsync, "--fsync");
    if let PushKind::Tree(tree) = kind {
        for dir in &tree.link_dest {
            args.push(b"--link-dest".to_vec());
            args.push(quoted(dir));
        }
    }
    let (acknowledgements, mkpath) = match kind {
        PushKind::List(list) => (list.acknowledgements, false),
        PushKind::Tree(tree) => (tree.acknowledgements, tree.mkpath),
    };
    if acknowledgements {
        args.push(b"--remove-source-files".to_vec());
    }
    if mkpath {
        args.push(b"--mkpath".to_vec());
    }
    args.extend(options.remote_options.iter().cloned());
}

/// `MODULE/PATH/`: the daemon expands wildcards in it, so they are escaped, and a path that would
/// look like an option behind the module gets a `./`.
fn destination(module: &str, path: &[u8]) -> Vec<u8> {
    let mut text = module.as_bytes().to_vec();
    text.push(b'/');
    if path.is_empty() {
        return text;
    }
    if path.starts_with(b"-") {
        text.extend_from_slice(b"./");
    }
    for &byte in path {
        if matches!(byte, b'*' | b'?' | b'[' | b'\\') {
            text.push(b'\\');
        }
        text.push(byte);
    }
    text.push(b'/');
    text
}

fn quoted(value: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(value.len());
    put_quoted_value(&mut text, value);
    text
}

fn whole_seconds(timeout: Duration) -> u64 {
    (timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(options: &TransferOptions, kind: PushKind<'_>, expected: &str) {
        let args = daemon_args(options, kind, "module", b"");
        let text = args.iter().map(|a| String::from_utf8_lossy(a)).collect::<Vec<_>>().join(" ");
        assert_eq!(text, expected);
    }

    #[test]
    fn a_partial_session_asks_for_what_the_recipes_need() {
        let options =
            TransferOptions { hard_links: true, numeric_ids: true, ..TransferOptions::default() };
        let list = ListPush {
            force: true,
            acknowledgements: true,
            missing_args: true,
            ..ListPush::default()
        };
        check(
            &options,
            PushKind::List(&list),
            "--server -ldHogDtpRe.LsfxCIvu --force --delete-missing-args -@-1 --numeric-ids \
             --remove-source-files . module/",
        );
    }

    #[test]
    fn a_full_pass_is_recursive() {
        let tree = TreePush { delete: true, max_delete: Some(0), ..TreePush::default() };
        check(
            &TransferOptions::default(),
            PushKind::Tree(&tree),
            "--server -logDtpre.iLsfxCIvu --max-delete=-1 --delete -@-1 . module/",
        );
        let linked = TransferOptions { hard_links: true, ..TransferOptions::default() };
        check(
            &linked,
            PushKind::Tree(&TreePush::default()),
            "--server -lHogDtpre.LsfxCIvu -@-1 . module/",
        );
        check(
            &linked,
            PushKind::Tree(&TreePush { dry_run: true, ..TreePush::default() }),
            "--server -nlHogDtpre.iLsfxCIvu -@-1 . module/",
        );
    }

    #[test]
    fn destinations_are_taken_literally() {
        assert_eq!(destination("m", b"a[1]/st*r"), b"m/a\\[1]/st\\*r/");
        assert_eq!(destination("m", b"-x"), b"m/./-x/");
        assert_eq!(destination("m", b""), b"m/");
    }
}
