//! Tests that can't be played on every machine.

use std::io::Write;

use anyhow::{Result, ensure};

/// Where this is `1` no test may be left out: continuous integration.
const REQUIRED: &str = "TESTS_REQUIRED";

/// The test that asks is left out here, for that reason. It says so on the error output, past the harness, which hides what a test
/// that passes says.
///
/// # Errors
/// Where none may be left out.
pub fn left_out(why: &str) -> Result<()> {
    let required = std::env::var(REQUIRED).is_ok_and(|value| value == "1");
    decide(std::thread::current().name().unwrap_or("a test"), why, required, &mut std::io::stderr())
}

fn decide(test: &str, why: &str, required: bool, out: &mut impl Write) -> Result<()> {
    ensure!(!required, "with {REQUIRED}=1 nothing may be left out: {why}");
    Ok(writeln!(out, "SKIPPED {test}: {why}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_said_and_fails_where_it_is_required() {
        let mut said = Vec::new();
        decide("chaos", "there is no nft", false, &mut said).unwrap();
        assert_eq!(String::from_utf8(said).unwrap(), "SKIPPED chaos: there is no nft\n");
        let mut said = Vec::new();
        let refused = decide("chaos", "there is no nft", true, &mut said).unwrap_err();
        assert!(refused.to_string().contains("there is no nft") && said.is_empty(), "{refused}");
    }
}
