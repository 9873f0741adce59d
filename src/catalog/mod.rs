//! The tools that agents may see: manifests, schemas, argument and result checks.
pub mod template;
