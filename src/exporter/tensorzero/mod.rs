//! TensorZero's inferences: each row that its gateway writes becomes one JSON record.
//!
//! The life of a row: [`receive`] cuts a body into rows and checks the fields that TensorZero
//! always writes; [`encode()`] makes key and value; [`TensorZeroExporter`] sends the record.
//! [`config`] reads the `[gateway.observability]` tables of TensorZero's own TOML. All but the
//! exporter and its meter is pure.
//!
//! ```
//! use ottla::exporter::tensorzero::{DataType, KeyField, encode, rows};
//!
//! let body = br#"{"id": "1", "function_name": "f", "variant_name": "v", "episode_id": "2",
//!                 "input": {}, "output": [], "tags": {"tier": "gold"}}"#;
//! for row in rows(DataType::ChatInference, body) {
//!     let row = row?;
//!     let record = encode(&row, KeyField::EpisodeId);
//!     assert_eq!(record.key, Some("2"));
//! }
//! assert_eq!(DataType::ChatInference.topic("tensorzero"), "tensorzero_chat_inference");
//! # Ok::<(), ottla::exporter::ReceiveError>(())
//! ```

pub mod config;
pub use config::{ConfigError, KeyField, SecurityProtocol, TensorZeroConfig};

pub mod receive;
pub use receive::{Row, Rows, rows};

pub mod encode;
pub use encode::{RowRecord, encode};

mod meter;

mod exporter;
pub use exporter::{ROW_SIZE_MAX, TensorZeroError, TensorZeroExporter};

use std::fmt;

/// What a row is about. Each kind has its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataType {
    /// What a model's provider was asked and answered.
    ModelInference,
    /// What a chat function was asked and answered.
    ChatInference,
    /// What a JSON function was asked and answered.
    JsonInference,
}

impl DataType {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::ModelInference, Self::ChatInference, Self::JsonInference];

    /// The name in topics, paths and labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ModelInference => "model_inference",
            Self::ChatInference => "chat_inference",
            Self::JsonInference => "json_inference",
        }
    }

    /// The topic that its rows go to.
    pub fn topic(self, prefix: &str) -> String {
        format!("{prefix}_{self}")
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
