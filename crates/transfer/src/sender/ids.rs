//! Names of owners and groups in lists. Protocol reference, "uid/gid names".

use std::collections::BTreeSet;

use driftless_fs::owner::Owners;
use driftless_proto::flist::{IdList, ListOptions};
use driftless_tree::flist::{Acl, AclEntry, Cached, Entry};

/// Which ids a session has listed, and their names.
#[derive(Default)]
pub(crate) struct Ids {
    users: BTreeSet<u32>,
    groups: BTreeSet<u32>,
    owners: Owners,
    /// Nobody has a name.
    nameless: bool,
}

impl Ids {
    /// None listed yet; names are asked of `owners`, or none is told.
    pub(crate) fn new(owners: Owners, nameless: bool) -> Self {
        Self { owners, nameless, ..Self::default() }
    }

    /// Notes the entry's ids.
    pub(crate) fn note(&mut self, entry: &Entry) {
        if self.nameless {
            return;
        }
        self.users.insert(entry.uid);
        self.groups.insert(entry.gid);
        if let Some(acls) = &entry.acl {
            let all = [Some(&acls.access), acls.default.as_ref()];
            for named in all.into_iter().flatten().filter_map(named_entries).flatten() {
                let ids = if named.is_user { &mut self.users } else { &mut self.groups };
                ids.insert(named.id);
            }
        }
    }

    /// Puts the names of ids that were not listed before into the entry.
    pub(crate) fn name_new(&mut self, entry: &mut Entry) {
        if self.nameless {
            return;
        }
        if self.users.insert(entry.uid) {
            entry.user = name(self.owners.user_name(entry.uid));
        }
        if self.groups.insert(entry.gid) {
            entry.group = name(self.owners.group_name(entry.gid));
        }
        if let Some(acls) = &mut entry.acl {
            self.name_new_in_acl(&mut acls.access);
            if let Some(default) = &mut acls.default {
                self.name_new_in_acl(default);
            }
        }
    }

    fn name_new_in_acl(&mut self, acl: &mut Cached<Acl>) {
        let Cached::Literal(acl) = acl else { return };
        for named in acl.named.iter_mut().flatten() {
            if named.is_user && self.users.insert(named.id) {
                named.name = name(self.owners.user_name(named.id));
            } else if !named.is_user && self.groups.insert(named.id) {
                named.name = name(self.owners.group_name(named.id));
            }
        }
    }

    /// Writes the lists that follow a list without names in it.
    pub(crate) fn put_lists(&self, options: &ListOptions, out: &mut Vec<u8>) {
        if options.numeric_ids {
            return;
        }
        if self.nameless {
            let count = [options.owner, options.group].map(|listed| listed || options.acls);
            count
                .into_iter()
                .filter(|listed| *listed)
                .for_each(|_| IdList::default().put(out, options));
            return;
        }
        if options.owner || options.acls {
            id_list(&self.users, |id| self.owners.user_name(id)).put(out, options);
        }
        if options.group || options.acls {
            id_list(&self.groups, |id| self.owners.group_name(id)).put(out, options);
        }
    }
}

fn named_entries(acl: &Cached<Acl>) -> Option<&Vec<AclEntry>> {
    match acl {
        Cached::Literal(acl) => acl.named.as_ref(),
        Cached::Index(_) => None,
    }
}

/// A name with a length that a list can carry.
fn name(name: Option<Vec<u8>>) -> Option<Box<[u8]>> {
    name.filter(|name| (1..=255).contains(&name.len())).map(Into::into)
}

fn id_list(ids: &BTreeSet<u32>, name_of: impl Fn(u32) -> Option<Vec<u8>>) -> IdList {
    let names = ids.iter().filter(|&&id| id != 0);
    IdList {
        names: names.filter_map(|&id| Some((id, name(name_of(id))?))).collect(),
        zero: name(name_of(0)),
    }
}
