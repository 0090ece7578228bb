//! Integration tests that need no cluster.

#[cfg(test)]
mod ingest_contract;
#[cfg(test)]
mod tidy;
