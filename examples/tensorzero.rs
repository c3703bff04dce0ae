//! Inferences in TensorZero's form, from a program that makes them.
//!
//! ```sh
//! ottla broker &
//! cargo run --example tensorzero -- localhost:9092
//! ottla tail tensorzero_chat_inference
//! ```
//!
//! A row of a chat function and the one of its model call share a key, so that they share a partition;
//! the former is sent on, the latter waited for.

use ottla::exporter::tensorzero::{
    DataType, KeyField, Row, TensorZeroConfig, TensorZeroExporter, rows,
};
use serde_json::json;
use std::error::Error;
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let brokers = std::env::args().nth(1).unwrap_or_else(|| "localhost:9092".to_owned());
    let mut config = TensorZeroConfig::new([brokers], "tensorzero");
    config.auto_create_topics = true;
    config.key = KeyField::InferenceId;
    let exporter = TensorZeroExporter::start(&config).await?;

    let inference = "0197177a-7c00-70a2-82a6-741f60a03b2e";
    let function = json!({
        "id": inference,
        "function_name": "haiku",
        "variant_name": "gpt_4o_mini",
        "episode_id": "0197177a-7c00-70a2-82a6-7420f7b0a1f5",
        "input": {"messages": [{"role": "user", "content": [{"type": "text", "text": "AI"}]}]},
        "output": [{"type": "text", "text": "Circuits hum softly"}],
        "processing_time_ms": 812,
        "tags": {"tier": "gold"},
    });
    exporter.export(&row(DataType::ChatInference, &function.to_string())?);

    let model = json!({
        "id": "0197177a-7ee3-7b22-b9d1-8a1e2d4d1d0e",
        "inference_id": inference,
        "raw_request": "{}",
        "raw_response": "{}",
        "model_name": "gpt-4o-mini",
        "model_provider_name": "openai",
        "input_tokens": 12,
        "output_tokens": 17,
        "response_time_ms": 790,
        "cached": false,
        "input_messages": "[]",
        "output": "[]",
    });
    let model = model.to_string();
    let delivered = exporter.export_and_wait(&row(DataType::ModelInference, &model)?).await?;
    println!("{} partition {}", delivered.topic, delivered.partition);

    exporter.close(Duration::from_secs(5)).await;
    println!("{} rows are in Kafka", exporter.ledger().counts().delivered);
    Ok(())
}

fn row(data_type: DataType, json: &str) -> Result<Row<'_>, Box<dyn Error>> {
    Ok(rows(data_type, json.as_bytes()).next().ok_or("no row")??)
}
