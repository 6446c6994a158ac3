//! How often each signer allocates memory for a token: `cargo bench --bench allocations` in this folder
//!
//! Apart from the times, which the counter would falsify.

use allocation_counter::measure;

fn main() {
    rds_iam_peers::with_each_kind_of_key(|kind, credentials| {
        for (name, token) in rds_iam_peers::peers(credentials) {
            // What is made once does not count.
            token();
            let made = measure(token);
            println!(
                "{kind}, {name}: {} allocations, {} bytes",
                made.count_total, made.bytes_total
            );
        }
    });
}
