//! Shared nouns: time, ids, loss, limits, secret content, plain values. No logic of any stage lives here.

pub mod anomaly;
pub(crate) mod glob;
pub mod id;
pub mod limits;
pub mod loss;
pub mod secret;
pub mod shapes;
pub mod time;
pub mod value;

pub use anomaly::Anomaly;
pub use id::{ActionId, ConnId, Direction, ExchangeId, FlowId, ProcessKey};
pub use loss::{Incomplete, LossCause};
pub use secret::{KeyedHash, Prints, Sensitive};
pub use time::Timestamp;
pub use value::Value;
