//! The watched directories as a tree of nodes.
//!
//! Each node knows its parent and its name, so that renaming a directory is one change whatever is
//! below it, and its path is computed when it is asked for. A node may float: it has left its place
//! and waits for the news of where it went.
//!
//! Invariants
//! * A node with a parent is in that parent's list of children, which is in the order of the names.
//! * The map from watch descriptors and the descriptors in the nodes are inverse.
//! * No node is above itself.
//!
//! Nothing here touches the disk.

use driftless_tree::RelPath;
use rustc_hash::FxHashMap;

use crate::disk::Identity;

/// A node, as long as it lives: the number of a removed node is never mistaken for its successor's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId {
    slot: u32,
    generation: u32,
}

const ROOT_SLOT: u32 = 0;
const NOWHERE: u32 = u32::MAX;
const UNWATCHED: i32 = -1;

#[derive(Debug)]
struct Node {
    name: Box<[u8]>,
    children: Vec<u32>,
    identity: Identity,
    parent: u32,
    generation: u32,
    wd: i32,
    alive: bool,
    /// Some directory right below it is not watched because the caller skips it.
    skips: bool,
    /// Something happened below while it floated, which nobody was told.
    touched: bool,
}

#[derive(Debug)]
pub(crate) struct Nodes {
    slots: Vec<Node>,
    free: Vec<u32>,
    by_wd: FxHashMap<i32, u32>,
}

/// Where a node is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Below the root; without a path, the root itself.
    At(Option<RelPath>),
    /// At or below this floating node.
    Floating(NodeId),
    /// Deeper than the longest path that can be named.
    TooDeep,
}

/// What [`Nodes::remove`] took away.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    pub wds: Vec<i32>,
    pub unwatched: Vec<NodeId>,
}

impl Nodes {
    /// The tree that has only a root, not yet watched.
    pub fn new(root: Identity) -> Self {
        let mut nodes = Self { slots: Vec::new(), free: Vec::new(), by_wd: FxHashMap::default() };
        nodes.slots.push(Node::new(Box::default(), root, 0));
        nodes
    }

    pub fn root(&self) -> NodeId {
        self.id(ROOT_SLOT)
    }

    /// All nodes, with the root.
    pub fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub fn watched_count(&self) -> usize {
        self.by_wd.len()
    }

    pub fn is_alive(&self, id: NodeId) -> bool {
        self.get(id).is_some()
    }

    pub fn by_wd(&self, wd: i32) -> Option<NodeId> {
        self.by_wd.get(&wd).map(|&slot| self.id(slot))
    }

    pub fn is_watched(&self, id: NodeId) -> bool {
        self.get(id).is_some_and(|node| node.wd != UNWATCHED)
    }

    pub fn identity(&self, id: NodeId) -> Option<Identity> {
        self.get(id).map(|node| node.identity)
    }

    /// The directory that holds it and its name there; `None` for the root, while it floats, and when
    /// it is removed.
    pub fn position(&self, id: NodeId) -> Option<(NodeId, &[u8])> {
        let node = self.get(id).filter(|node| node.parent != NOWHERE)?;
        Some((self.id(node.parent), &node.name))
    }

    pub fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        let node = self.get(parent)?;
        self.search(node, name).ok().map(|at| self.id(node.children[at]))
    }

    /// The nodes right below, in the order of their names.
    pub fn children(&self, parent: NodeId) -> Vec<NodeId> {
        let children = self.get(parent).map_or(&[][..], |node| &node.children);
        children.iter().map(|&slot| self.id(slot)).collect()
    }

    /// All nodes below, parents first.
    pub fn below(&self, id: NodeId) -> Vec<NodeId> {
        let mut all = self.children(id);
        let mut next = 0;
        while let Some(&node) = all.get(next) {
            all.extend(self.children(node));
            next += 1;
        }
        all
    }

    pub fn is_floating(&self, id: NodeId) -> bool {
        id.slot != ROOT_SLOT && self.get(id).is_some_and(|node| node.parent == NOWHERE)
    }

    /// Whether it is `top` or below it.
    pub fn is_within(&self, id: NodeId, top: NodeId) -> bool {
        let mut slot = id.slot;
        loop {
            if slot == top.slot {
                return true;
            }
            if slot == NOWHERE || slot == ROOT_SLOT {
                return false;
            }
            slot = self.slots[slot as usize].parent;
        }
    }

    pub fn place(&self, id: NodeId) -> Place {
        let mut names = Vec::new();
        let mut slot = id.slot;
        while slot != ROOT_SLOT {
            let node = &self.slots[slot as usize];
            if node.parent == NOWHERE {
                return Place::Floating(self.id(slot));
            }
            names.push(&node.name[..]);
            slot = node.parent;
        }
        if names.is_empty() {
            return Place::At(None);
        }
        names.reverse();
        RelPath::parse(&names.join(&b'/')).map_or(Place::TooDeep, |path| Place::At(Some(path)))
    }

    /// Adds a node that is not watched, where there is none.
    pub fn insert(&mut self, parent: NodeId, name: &[u8], identity: Identity) -> NodeId {
        let slot = match self.free.pop() {
            Some(slot) => {
                let generation = self.slots[slot as usize].generation.wrapping_add(1);
                self.slots[slot as usize] = Node::new(name.into(), identity, generation);
                slot
            }
            None => {
                self.slots.push(Node::new(name.into(), identity, 0));
                u32::try_from(self.slots.len() - 1)
                    .expect("fewer directories than inotify has numbers")
            }
        };
        self.hang(slot, parent);
        self.id(slot)
    }

    pub fn set_watch(&mut self, id: NodeId, wd: i32) {
        let old = std::mem::replace(&mut self.slots[id.slot as usize].wd, wd);
        self.by_wd.remove(&old);
        self.by_wd.insert(wd, id.slot);
    }

    /// Takes its watch away from it.
    pub fn clear_watch(&mut self, id: NodeId) -> Option<i32> {
        let old = std::mem::replace(&mut self.slots[id.slot as usize].wd, UNWATCHED);
        self.by_wd.remove(&old).map(|_| old)
    }

    /// Notes which inode it is.
    pub fn set_identity(&mut self, id: NodeId, identity: Identity) {
        self.slots[id.slot as usize].identity = identity;
    }

    /// Takes it, with all below it, out of its place.
    ///
    /// Where it was below another floating node that was touched, it may be what was touched.
    pub fn float(&mut self, id: NodeId) {
        let parent = self.slots[id.slot as usize].parent;
        if parent == NOWHERE {
            return;
        }
        if let Place::Floating(top) = self.place(id) {
            let touched = self.slots[top.slot as usize].touched;
            self.slots[id.slot as usize].touched |= touched;
        }
        let name = &self.slots[id.slot as usize].name;
        if let Ok(at) = self.search(&self.slots[parent as usize], name) {
            self.slots[parent as usize].children.remove(at);
        }
        self.slots[id.slot as usize].parent = NOWHERE;
    }

    /// Puts a floating node into a place where there is none. The caller has made sure that `parent`
    /// is not below it.
    pub fn attach(&mut self, id: NodeId, parent: NodeId, name: &[u8]) {
        self.slots[id.slot as usize].name = name.into();
        self.hang(id.slot, parent);
    }

    /// Removes it with all below it.
    pub fn remove(&mut self, id: NodeId) -> Removed {
        let mut removed = Removed::default();
        if !self.is_alive(id) {
            return removed;
        }
        self.float(id);
        let mut all = self.below(id);
        all.push(id);
        for node in all {
            let slot = &mut self.slots[node.slot as usize];
            slot.alive = false;
            slot.children = Vec::new();
            slot.name = Box::default();
            match std::mem::replace(&mut slot.wd, UNWATCHED) {
                UNWATCHED => removed.unwatched.push(node),
                wd => {
                    self.by_wd.remove(&wd);
                    removed.wds.push(wd);
                }
            }
            self.free.push(node.slot);
        }
        removed
    }

    pub fn set_skips(&mut self, id: NodeId) {
        self.slots[id.slot as usize].skips = true;
    }

    pub fn skips(&self, id: NodeId) -> bool {
        self.get(id).is_some_and(|node| node.skips)
    }

    pub fn touch(&mut self, id: NodeId) {
        self.slots[id.slot as usize].touched = true;
    }

    /// Whether it was touched since the last time this was asked.
    pub fn take_touched(&mut self, id: NodeId) -> bool {
        std::mem::take(&mut self.slots[id.slot as usize].touched)
    }

    fn id(&self, slot: u32) -> NodeId {
        NodeId { slot, generation: self.slots[slot as usize].generation }
    }

    fn get(&self, id: NodeId) -> Option<&Node> {
        let node = &self.slots[id.slot as usize];
        (node.alive && node.generation == id.generation).then_some(node)
    }

    fn search(&self, parent: &Node, name: &[u8]) -> Result<usize, usize> {
        parent.children.binary_search_by(|&slot| (*self.slots[slot as usize].name).cmp(name))
    }

    fn hang(&mut self, slot: u32, parent: NodeId) {
        self.slots[slot as usize].parent = parent.slot;
        let name = &self.slots[slot as usize].name;
        match self.search(&self.slots[parent.slot as usize], name) {
            Ok(_) => unreachable!("the caller has emptied the place"),
            Err(at) => self.slots[parent.slot as usize].children.insert(at, slot),
        }
    }
}

impl Node {
    fn new(name: Box<[u8]>, identity: Identity, generation: u32) -> Self {
        Self {
            name,
            children: Vec::new(),
            identity,
            parent: NOWHERE,
            generation,
            wd: UNWATCHED,
            alive: true,
            skips: false,
            touched: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Identity = Identity { dev: 1, ino: 2 };

    fn path_of(nodes: &Nodes, id: NodeId) -> Vec<u8> {
        match nodes.place(id) {
            Place::At(Some(path)) => path.as_bytes().to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn renaming_a_directory_moves_all_below_it() {
        let mut nodes = Nodes::new(ID);
        let a = nodes.insert(nodes.root(), b"a", ID);
        let b = nodes.insert(a, b"b", ID);
        let c = nodes.insert(b, b"c", ID);
        let z = nodes.insert(nodes.root(), b"z", ID);
        assert_eq!(path_of(&nodes, c), b"a/b/c");
        nodes.float(b);
        assert_eq!(nodes.place(c), Place::Floating(b));
        nodes.attach(b, z, b"y");
        assert_eq!(path_of(&nodes, c), b"z/y/c");
        assert_eq!(nodes.child(a, b"b"), None);
        assert!(nodes.is_within(c, z) && !nodes.is_within(c, a));
    }

    #[test]
    fn what_leaves_a_touched_node_is_touched() {
        let mut nodes = Nodes::new(ID);
        let a = nodes.insert(nodes.root(), b"a", ID);
        let b = nodes.insert(a, b"b", ID);
        let c = nodes.insert(a, b"c", ID);
        nodes.float(a);
        nodes.float(c);
        nodes.touch(a);
        nodes.float(b);
        assert!(nodes.take_touched(b) && !nodes.take_touched(b));
        assert!(nodes.take_touched(a) && !nodes.take_touched(c));
    }

    #[test]
    fn removing_gives_back_the_watches_below() {
        let mut nodes = Nodes::new(ID);
        let a = nodes.insert(nodes.root(), b"a", ID);
        let b = nodes.insert(a, b"b", ID);
        let polled = nodes.insert(a, b"p", ID);
        nodes.set_watch(a, 5);
        nodes.set_watch(b, 6);
        let mut removed = nodes.remove(a);
        removed.wds.sort_unstable();
        assert_eq!(removed, Removed { wds: vec![5, 6], unwatched: vec![polled] });
        assert_eq!((nodes.count(), nodes.watched_count()), (1, 0));
        let again = nodes.insert(nodes.root(), b"a", ID);
        assert!(nodes.is_alive(again) && !nodes.is_alive(a) && !nodes.is_alive(b));
    }

    #[test]
    fn children_are_found_by_name_whatever_the_order_of_arrival() {
        let mut nodes = Nodes::new(ID);
        let mut names: Vec<Vec<u8>> =
            (0..200u32).map(|n| (n * 7919 % 200).to_string().into()).collect();
        for name in &names {
            nodes.insert(nodes.root(), name, ID);
        }
        names.sort();
        let order: Vec<_> = nodes
            .children(nodes.root())
            .iter()
            .map(|&id| nodes.position(id).unwrap().1.to_vec())
            .collect();
        assert_eq!(order, names);
    }

    #[test]
    fn a_path_that_is_too_long_has_no_name() {
        let mut nodes = Nodes::new(ID);
        let mut dir = nodes.root();
        for _ in 0..20 {
            dir = nodes.insert(dir, &[b'x'; 250], ID);
        }
        assert_eq!(nodes.place(dir), Place::TooDeep);
    }
}
