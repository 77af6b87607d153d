//! Models of the races of `react-websocket`: its own source, with what schedules it exchanged for
//! [shuttle](https://docs.rs/shuttle)'s. See the README beside this package.
#![allow(dead_code, unused_imports, reason = "the models use what they need")]
#![allow(unused_doc_comments, reason = "statics are made by a macro here")]

pub mod model;
#[cfg(test)]
mod races;

include!(concat!(env!("OUT_DIR"), "/src/lib.rs"));
