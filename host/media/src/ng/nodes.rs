//! The nodes: who is there, and which one a call goes to.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Instant,
};

/// Names a node: its place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u16);

/// How a node is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// UDP: a command may be lost, and is sent again.
    Datagrams,
    /// A WebSocket, which may be closed.
    Connection,
}

/// A node as the operator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Such as `udp:192.0.2.7:2223`. Calls are placed by it.
    pub name: String,
    /// How it is spoken to.
    pub wire: Wire,
}

/// Is a node there?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It was never heard.
    Unknown,
    /// It answered the last command.
    Up,
    /// It did not.
    Down,
}

#[derive(Debug)]
pub(super) struct Nodes(Vec<Node>);

#[derive(Debug)]
struct Node {
    config: NodeConfig,
    health: Health,
    /// `None` while one is on its way.
    next_ping: Option<Instant>,
}

impl Nodes {
    pub(super) fn new(nodes: Vec<NodeConfig>) -> Self {
        let unheard = |config| Node {
            config,
            health: Health::Unknown,
            next_ping: None,
        };
        Self(nodes.into_iter().map(unheard).collect())
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        let count = u16::try_from(self.0.len()).unwrap_or(u16::MAX);
        (0..count).map(NodeId)
    }

    pub(super) fn wire(&self, NodeId(id): NodeId) -> Option<Wire> {
        Some(self.0.get(usize::from(id))?.config.wire)
    }

    pub(super) fn is_down(&self, NodeId(id): NodeId) -> bool {
        let node = self.0.get(usize::from(id));
        node.is_none_or(|node| node.health == Health::Down)
    }

    /// Says whether that is news.
    pub(super) fn set(&mut self, NodeId(id): NodeId, health: Health) -> bool {
        let Some(node) = self.0.get_mut(usize::from(id)) else {
            return false;
        };
        std::mem::replace(&mut node.health, health) != health
    }

    /// The next ping is due then, and no other.
    pub(super) fn plan_ping(&mut self, NodeId(id): NodeId, at: Instant) {
        if let Some(node) = self.0.get_mut(usize::from(id)) {
            node.next_ping = Some(at);
        }
    }

    /// Is the ping due that was planned last, and not on its way?
    pub(super) fn take_ping(&mut self, NodeId(id): NodeId, now: Instant) -> bool {
        let node = self.0.get_mut(usize::from(id));
        let planned = node.and_then(|node| node.next_ping.take_if(|at| *at <= now));
        planned.is_some()
    }

    pub(super) fn awaits_pong(&self, NodeId(id): NodeId) -> bool {
        let node = self.0.get(usize::from(id));
        node.is_some_and(|node| node.next_ping.is_none())
    }

    /// The node of a call: the same for the same call, also after a restart and on another worker, as long as the same nodes are there
    /// (rendezvous hashing); none of `tried`, none that is down, and one
    /// that was never heard only where there is no other.
    pub(super) fn choose(&self, call: &str, tried: &[NodeId]) -> Option<NodeId> {
        let of_health = |wanted: Health| {
            let nodes = self.ids().zip(&self.0);
            let fits = nodes.filter(|(id, node)| node.health == wanted && !tried.contains(id));
            fits.max_by_key(|(_, node)| weight(call, &node.config.name))
                .map(|(id, _)| id)
        };
        of_health(Health::Up).or_else(|| of_health(Health::Unknown))
    }
}

fn weight(call: &str, node: &str) -> u64 {
    // Without a key, so that it is the same in every process.
    let mut hasher = DefaultHasher::new();
    (call, node).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Nodes {
        let node = |name: &str| NodeConfig {
            name: name.to_owned(),
            wire: Wire::Datagrams,
        };
        let mut nodes = Nodes::new(["a", "b", "c"].map(node).to_vec());
        for id in nodes.ids() {
            nodes.set(id, Health::Up);
        }
        nodes
    }

    #[test]
    fn calls_spread_and_only_those_of_a_lost_node_move() {
        let mut nodes = three();
        let calls: Vec<String> = (0..300).map(|n| format!("call-{n}")).collect();
        let place = |nodes: &Nodes| -> Vec<NodeId> {
            let places = calls.iter().map(|call| nodes.choose(call, &[]).unwrap());
            places.collect()
        };
        let before = place(&nodes);
        for id in nodes.ids() {
            assert!(before.iter().filter(|node| **node == id).count() > 60);
        }
        assert!(nodes.set(NodeId(1), Health::Down));
        let moved = before.iter().zip(place(&nodes));
        assert!(moved.clone().all(|(_, now)| now != NodeId(1)));
        assert!(
            moved
                .filter(|(was, now)| **was != *now)
                .all(|(was, _)| *was == NodeId(1))
        );
    }

    #[test]
    fn who_was_never_heard_is_better_than_nobody() {
        let mut nodes = three();
        nodes.set(NodeId(0), Health::Down);
        nodes.set(NodeId(1), Health::Unknown);
        assert_eq!(nodes.choose("x", &[]), Some(NodeId(2)));
        assert_eq!(nodes.choose("x", &[NodeId(2)]), Some(NodeId(1)));
        assert_eq!(nodes.choose("x", &[NodeId(2), NodeId(1)]), None);
    }
}
