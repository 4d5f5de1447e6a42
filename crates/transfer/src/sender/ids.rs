//! Names of owners and groups in lists. Protocol reference, "uid/gid names".

use std::collections::HashSet;

use driftless_fs::owner;
use driftless_tree::flist::Entry;

/// Which ids a session has listed.
#[derive(Default)]
pub(crate) struct Ids {
    users: HashSet<u32>,
    groups: HashSet<u32>,
}

impl Ids {
    /// Notes the entry's ids.
    pub(crate) fn note(&mut self, entry: &Entry) {
        self.users.insert(entry.uid);
        self.groups.insert(entry.gid);
    }

    /// Puts the names of ids that were not listed before into the entry.
    pub(crate) fn name_new(&mut self, entry: &mut Entry) {
        if self.users.insert(entry.uid) {
            entry.user = owner::user_name(entry.uid).map(Into::into);
        }
        if self.groups.insert(entry.gid) {
            entry.group = owner::group_name(entry.gid).map(Into::into);
        }
    }
}
