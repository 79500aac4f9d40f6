//! An Apache Kafka client in pure Rust, with typed events on top.
