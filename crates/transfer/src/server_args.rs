//! The arguments that the server of a push gets, in the order in which rsync sends them. Protocol
//! reference, "Remote-shell command line" and "Daemon argument list".

use crate::options::{
    AlternateKind, Alternates, ConnectOptions, DeleteWhen, MissingArgs, RemoveSource,
    TransferOptions,
};
use crate::push::{ListPush, TreePush};
use crate::remote_args::{ServerArgs, ServerSide};

/// The first protocol that carries times to the nanosecond.
pub(crate) const NANOSECONDS_FROM: u8 = 31;

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

    pub(crate) fn dry_run(self) -> bool {
        matches!(self, Self::Tree(TreePush { dry_run: true, .. }))
    }

    /// Whether content is compared by checksum.
    pub(crate) fn checksum(self, protocol: u8) -> bool {
        match self {
            Self::List(_) => false,
            Self::Tree(tree) => {
                tree.checksum || tree.checksum_for_whole_seconds && protocol < NANOSECONDS_FROM
            }
        }
    }
}

/// The whole list for a daemon, from `--server` to the destination.
pub(crate) fn daemon_args(
    options: &TransferOptions,
    kind: PushKind<'_>,
    protocol: u8,
    module: &str,
    path: &[u8],
) -> Vec<Vec<u8>> {
    let mut options = match kind {
        PushKind::List(list) => for_list(options, list),
        PushKind::Tree(tree) => for_tree(options, tree),
    };
    options.update.checksum = kind.checksum(protocol);
    let args = ServerArgs::new(&options, &ConnectOptions::default(), ServerSide::Receives);
    args.for_daemon(&[destination(module, path)])
}

fn for_list(options: &TransferOptions, list: &ListPush) -> TransferOptions {
    let mut options = options.clone();
    options.selection.dirs_given = Some(true);
    options.selection.relative = true;
    if list.missing_args {
        options.selection.missing_args = MissingArgs::Delete;
    }
    options.update.size_only = list.size_only;
    options.update.ignore_times = list.ignore_times;
    options.delete.when = list.filter_texts.is_some().then_some(DeleteWhen::Unspecified);
    options.delete.force = list.force;
    options.delete.remove_source = acknowledged(list.acknowledgements);
    options
}

fn for_tree(options: &TransferOptions, tree: &TreePush) -> TransferOptions {
    let mut options = options.clone();
    options.dry_run = tree.dry_run;
    options.selection.recursive = !tree.shallow;
    // Not together with hard links: a daemon of 3.5.0 waits for ever when the member of a group
    // that it asked for does not come over (we refuse it, it changes while it is read, or the
    // target cannot write it), its old version exists there, and further members follow. Nothing
    // fails in a dry run.
    options.selection.inc_recursive = tree.dry_run || !options.hard_links;
    options.selection.dirs_given = tree.shallow.then_some(true);
    options.update.size_only = tree.size_only;
    options.update.ignore_times = tree.ignore_times;
    if !tree.link_dest.is_empty() {
        let dirs = tree.link_dest.clone();
        options.update.alternates = Some(Alternates { kind: AlternateKind::Link, dirs });
    }
    let deletes = tree.delete || tree.delete_excluded;
    options.delete.when = deletes.then_some(DeleteWhen::Unspecified);
    options.delete.excluded = tree.delete_excluded;
    options.delete.max = tree.max_delete;
    options.delete.force = tree.force;
    options.delete.ignore_errors = tree.ignore_errors;
    options.delete.remove_source = acknowledged(tree.acknowledgements);
    options.write.mkpath = tree.mkpath;
    options
}

/// A server that believes that sources are removed says what it has.
fn acknowledged(wanted: bool) -> RemoveSource {
    if wanted { RemoveSource::Same } else { RemoveSource::Nothing }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(options: &TransferOptions, kind: PushKind<'_>, expected: &str) {
        let args = daemon_args(options, kind, 32, "module", b"");
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
