//! Processes and their descent.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Proc;
use crate::base::limits::PROCESSES;
use crate::base::{ProcessKey, Sensitive};
use crate::capture::Exec;

/// Longest line of ancestors that is walked: deeper ones are made to cost us time.
const DEEPEST: usize = 64;

#[derive(Clone, Debug)]
struct Node {
    parent: Option<u32>,
    proc: Arc<Proc>,
    gone: bool,
    /// Order of arrival, for eviction.
    seen: u64,
}

/// By pid: the latest process of that number.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: BTreeMap<u32, Node>,
    clock: u64,
}

impl Tree {
    pub(super) fn exec(&mut self, process: ProcessKey, parent: Option<u32>, exec: &Exec) -> Arc<Proc> {
        let parent = parent.or(exec.ppid).or_else(|| self.nodes.get(&process.pid).and_then(|node| node.parent));
        let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let proc = Proc {
            key: Some(process),
            parent,
            name: Some(base(&exec.exe).into()),
            exe: Some(exec.exe.clone()),
            args: Sensitive::new(exec.argv.expose_content().join(" ").into()),
            uid: exec.uid,
            cwd: exec.cwd.clone(),
            cgroup: exec.cgroup.clone(),
            ancestors: self.ancestors(parent),
        };
        self.insert(process.pid, parent, proc)
    }

    pub(super) fn fork(&mut self, child: ProcessKey, parent: u32) {
        let of_parent = self.nodes.get(&parent).map(|node| (*node.proc).clone()).unwrap_or_default();
        let proc = Proc { key: Some(child), parent: Some(parent), ancestors: self.ancestors(Some(parent)), ..of_parent };
        self.insert(child.pid, Some(parent), proc);
    }

    pub(super) fn exit(&mut self, pid: u32) {
        if let Some(node) = self.nodes.get_mut(&pid) {
            node.gone = true;
        }
    }

    /// What is known of a process; one that was never announced is known by its number.
    pub(super) fn get(&mut self, process: ProcessKey) -> Arc<Proc> {
        if let Some(node) = self.nodes.get(&process.pid) {
            return node.proc.clone();
        }
        self.insert(process.pid, None, Proc { key: Some(process), ..Proc::default() })
    }

    /// The process and its ancestors, nearest first.
    pub(super) fn line(&self, pid: u32) -> Vec<u32> {
        let mut line = vec![pid];
        let mut at = pid;
        while let Some(parent) = self.nodes.get(&at).and_then(|node| node.parent).filter(|parent| *parent > 1) {
            if line.len() >= DEEPEST || line.contains(&parent) {
                break;
            }
            line.push(parent);
            at = parent;
        }
        line
    }

    fn ancestors(&self, parent: Option<u32>) -> Vec<Arc<str>> {
        let line = parent.map(|parent| self.line(parent)).unwrap_or_default();
        line.iter().filter_map(|pid| self.nodes.get(pid)?.proc.name.clone()).collect()
    }

    fn insert(&mut self, pid: u32, parent: Option<u32>, proc: Proc) -> Arc<Proc> {
        self.clock += 1;
        let proc = Arc::new(proc);
        self.nodes.insert(pid, Node { parent, proc: proc.clone(), gone: false, seen: self.clock });
        if self.nodes.len() > PROCESSES {
            // The oldest dead one, else the oldest.
            let victim = self.nodes.iter().min_by_key(|(_, node)| (!node.gone, node.seen)).map(|(pid, _)| *pid);
            if let Some(victim) = victim {
                self.nodes.remove(&victim);
            }
        }
        proc
    }
}
