//! Sets `cfg(models)`, by which the crate's source takes its primitives from the scheduler.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(models)");
    println!("cargo::rustc-cfg=models");
}
