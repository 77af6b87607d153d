//! What the fuzz targets share.
#![forbid(unsafe_code)]

pub mod app;
pub mod exchange;
pub mod frames;
pub mod input;
pub mod reference;
