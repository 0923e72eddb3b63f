//! Lists that came back short.

use super::*;
use crate::source::kubernetes::fake::{Asked, Fault};

#[tokio::test(start_paused = true)]
async fn what_a_list_suddenly_lacks_is_kept_until_the_hold_is_over_and_another_list_lacks_it() {
    for resource in ["ingressclasses", "proxypolicies", "namespaces"] {
        let server = server();
        let mut watching = Watching::whole(&server).await;
        let before = watching.seen();
        let lists_nothing =
            move |asked: &Asked| (asked.resource == resource && !asked.is_watch()).then_some(Fault::Short(0));
        server.err(lists_nothing);
        server.forget();
        watching.stays("kept", HOLD - SOON, |cluster| seen(cluster) == before).await;
        watching.until(&format!("belief in the lack of {resource}"), SOON * 2, |cluster| seen(cluster) != before).await;
        server.err(|_| None);
        server.forget();
        watching.recovers(SOON).await;
        // A list that came back short, and then one that did not.
        server.err(lists_nothing);
        server.forget();
        watching.stays("kept", HOLD / 2, |cluster| seen(cluster) == before).await;
        server.err(|_| None);
        server.forget();
        watching.stays("kept", HOLD * 2, |cluster| seen(cluster) == before).await;
    }
}
