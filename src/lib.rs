//! Countersign: a gateway for the Model Context Protocol that decides, holds for a person and records
//! every tool call.
pub mod backend;
pub mod catalog;
pub mod clock;
pub mod digest;
pub mod evidence;
pub mod hold;
pub mod ids;
pub mod json;
pub mod policy;
pub mod principal;
pub mod source;
pub mod storage;
