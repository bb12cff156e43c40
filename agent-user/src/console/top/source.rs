//! Where the picture comes from.

use std::path::PathBuf;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::console::control::{self, Board};
use crate::console::picture::rows::{AgentDetail, AlertDetail, AlertRow, Overview, WorkflowDetail, WorkflowRow};
use crate::console::{Failure, api};

pub(super) enum Source {
    /// The running daemon's.
    Socket(PathBuf),
    /// One of a recording, in this process.
    Board(Arc<Board>),
}

impl Source {
    pub(super) fn overview(&self) -> Result<Overview, Failure> {
        self.get("/v1/overview")
    }

    pub(super) fn workflows(&self) -> Result<Vec<WorkflowRow>, Failure> {
        self.get("/v1/workflows?limit=500")
    }

    pub(super) fn alerts(&self) -> Result<Vec<AlertRow>, Failure> {
        self.get("/v1/alerts?limit=500")
    }

    pub(super) fn workflow(&self, id: &str) -> Result<WorkflowDetail, Failure> {
        self.get(&format!("/v1/workflows/{id}"))
    }

    pub(super) fn alert(&self, uid: &str) -> Result<AlertDetail, Failure> {
        self.get(&format!("/v1/alerts/{uid}"))
    }

    pub(super) fn agent(&self, id: &str) -> Result<AgentDetail, Failure> {
        self.get(&format!("/v1/agents/{id}"))
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let answer = match self {
            Source::Socket(socket) => control::request(socket, &format!("get {path}"))?,
            Source::Board(board) => api::answer(board, path).unwrap_or_default(),
        };
        serde_json::from_str(&answer)
            .map_err(|_| Failure::Input(format!("{path}: it is not there any more, or the daemon is of another version")))
    }
}
