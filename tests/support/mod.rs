//! What the integration tests share.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod judge_stub;
pub mod made_run;
pub mod npy;
pub mod paths;
pub mod run;
pub mod serve;
pub mod stub_hub;
pub mod stub_llm;
pub mod stub_store;
