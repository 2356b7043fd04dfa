//! Which notification nodes keep which part of the directory: rendezvous hashing (Thaler and Ravishankar, 1998).
//!
//! A function of the passport and of the live notification nodes alone, the same on every machine and in every
//! build. When a node comes or goes, only the passports that it owns move.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::node::{Role, View};
use crate::model::{Generation, NodeId, Passport};

/// One life of a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) node: NodeId,
    pub(super) generation: Generation,
}

/// The notification nodes of a view.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ring {
    /// All of them, in the order of their names.
    all: Vec<Place>,
    /// Those that own passports, as indices into `all`, with the hashes of their names. A draining node owns nothing, so
    /// that its share has moved before it goes; if all drain, all own.
    owning: Vec<(usize, u64)>,
    /// The same for two nodes only if they see the same notification nodes.
    hash: u64,
}

impl Ring {
    pub(super) fn of(view: &View) -> Self {
        let nodes: Vec<_> = view.of(Role::Notification).collect();
        let all_drain = nodes.iter().all(|node| node.load.draining);
        let mut ring = Self::default();
        let mut hasher = Sha256::new();
        for (index, node) in nodes.iter().enumerate() {
            let owns = all_drain || !node.load.draining;
            if owns {
                ring.owning.push((index, hash(node.id.as_str())));
            }
            hasher.update((node.id.as_str().len() as u64).to_be_bytes());
            hasher.update(node.id.as_str());
            hasher.update(node.generation.0.to_be_bytes());
            hasher.update([u8::from(owns)]);
            ring.all.push(Place { node: node.id.clone(), generation: node.generation });
        }
        ring.hash = first_word(hasher);
        ring
    }

    /// What tells this set of nodes from others.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// All live notification nodes.
    pub(super) fn all(&self) -> &[Place] {
        &self.all
    }

    /// The two nodes at which a passport is registered, the first ranked first; fewer if there are fewer.
    pub(super) fn owners(&self, who: &Passport) -> impl Iterator<Item = &Place> + use<'_> {
        let passport = hash(who.as_str());
        let (mut first, mut second) = (None, None);
        for (index, name) in &self.owning {
            let candidate = Some((mix(passport ^ name), *index));
            if candidate > first {
                (first, second) = (candidate, first);
            } else if candidate > second {
                second = candidate;
            }
        }
        [first, second].into_iter().flatten().map(|(_, index)| &self.all[index])
    }

    /// Whether a node is one of a passport's owners.
    pub(super) fn owns(&self, node: &NodeId, who: &Passport) -> bool {
        self.owners(who).any(|place| place.node == *node)
    }
}

pub(super) fn hash(text: &str) -> u64 {
    first_word(Sha256::new_with_prefix(text))
}

fn first_word(hasher: Sha256) -> u64 {
    let bytes: [u8; 32] = hasher.finalize().into();
    bytes.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): every bit of the input moves every bit of the output.
pub(super) fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cluster::{Load, Node};
    use crate::model::Epoch;

    pub(in crate::cluster) fn node(name: &str, generation: u64) -> Node {
        Node {
            id: NodeId::parse(name).unwrap(),
            generation: Generation(generation),
            role: Role::Notification,
            client_addr: ([127, 0, 0, 1], 1).into(),
            peer_addr: ([127, 0, 0, 1], 2).into(),
            gossip_addr: ([127, 0, 0, 1], 3).into(),
            load: Load { capacity: 1, ..Load::default() },
            highest_epoch: Epoch(0),
            ready: true,
            linked: true,
        }
    }

    fn ring(names: &[&str]) -> Ring {
        Ring::of(&View::new(names.iter().map(|name| node(name, 1))))
    }

    fn passport(number: usize) -> Passport {
        Passport::parse(&format!("user{number}@example.com")).unwrap()
    }

    fn names(ring: &Ring, who: &Passport) -> Vec<String> {
        ring.owners(who).map(|place| place.node.to_string()).collect()
    }

    #[test]
    fn is_the_same_in_every_build() {
        let alice = Passport::parse("alice@example.com").unwrap();
        assert_eq!(hash("alice@example.com"), 0xff8d_9819_fc0e_12bf, "sha256sum says so");
        assert_eq!(names(&ring(&["ns-1", "ns-2", "ns-3", "ns-4"]), &alice), ["ns-3", "ns-1"]);
        assert_eq!(ring(&[]).owners(&alice).count(), 0);
        assert_eq!(names(&ring(&["ns-1"]), &alice), ["ns-1"]);
    }

    #[test]
    fn only_the_share_of_the_node_that_went_moves() {
        let (four, three) = (ring(&["a", "b", "c", "d"]), ring(&["a", "b", "d"]));
        let mut first = std::collections::BTreeMap::<String, usize>::new();
        for who in (0..4000).map(passport) {
            let (before, after) = (names(&four, &who), names(&three, &who));
            let stayed: Vec<_> = before.iter().filter(|name| *name != "c").cloned().collect();
            assert_eq!(after[..stayed.len()], stayed, "those that stay keep their order");
            *first.entry(before[0].clone()).or_default() += 1;
        }
        assert!(first.values().all(|count| (850..1150).contains(count)), "{first:?}");
    }

    #[test]
    fn a_draining_node_owns_nothing_unless_all_drain() {
        let drains = |names: &[&str]| {
            View::new(["a", "b", "c"].map(|name| {
                let mut node = node(name, 1);
                node.load.draining = names.contains(&name);
                node
            }))
        };
        let (none, one) = (Ring::of(&drains(&[])), Ring::of(&drains(&["b"])));
        assert_ne!(none.hash(), one.hash());
        assert_eq!(one.all().len(), 3);
        assert!((0..100).all(|n| !one.owns(&NodeId::parse("b").unwrap(), &passport(n))));
        assert_eq!(Ring::of(&drains(&["a", "b", "c"])).owners(&passport(1)).count(), 2);
    }

    #[test]
    fn its_hash_tells_lives_apart() {
        let later = Ring::of(&View::new([node("a", 2), node("b", 1)]));
        assert_ne!(ring(&["a", "b"]).hash(), later.hash());
        assert_eq!(ring(&["a", "b"]).hash(), ring(&["b", "a"]).hash());
    }
}
