//! The end-to-end suite: what a user is promised, each sentence a case, on one real control plane with two replicas of
//! the adapter. Run it by `cargo xtask e2e`, which builds what it needs.
//!
//! The cases run in the order of [`cases`]: from a cluster without the adapter, through its installation, to a cluster
//! without it again. A case uses a namespace and plugins of its own.

#![expect(
    clippy::indexing_slicing,
    reason = "indexing a JSON value gives null for what is not there, and never panics"
)]

mod access;
mod alone;
mod autoscaling;
mod backends;
mod clients;
mod complaints;
mod conformance;
mod controller;
mod credentials;
mod deploy;
mod discovery;
mod encodings;
mod explain;
mod failures;
mod figures;
mod kinds;
mod lifecycle;
mod openapi;
mod outages;
mod peer;
mod preflight;
mod prometheus;
mod refusals;
mod refused_sources;
mod reload;
mod request_log;
mod resource;
mod rollout;
mod runner;
mod tenants;
mod trust;
mod values;
mod walkthrough;
mod world;

use std::process::ExitCode;

use runner::{Case, Options};

/// A case named after its function; `step` marks one that all later cases need.
macro_rules! case {
    ($module:ident::$name:ident) => {
        Case {
            name: concat!(stringify!($module), "::", stringify!($name)),
            step: false,
            run: |world| Box::pin($module::$name(world)),
        }
    };
    (step $module:ident::$name:ident) => {
        Case { step: true, ..case!($module::$name) }
    };
}

fn main() -> ExitCode {
    let options = Options::parse(std::env::args().skip(1));
    match tokio::runtime::Runtime::new() {
        // Children die with the thread that started them, which is this one and no thread of the runtime's pool.
        Ok(runtime) => runtime.block_on(runner::run(&options, cases())),
        Err(error) => {
            eprintln!("error: cannot start the asynchronous runtime: {error}");
            ExitCode::FAILURE
        }
    }
}

fn cases() -> Vec<Case> {
    let mut cases = before_installation();
    cases.extend(installed());
    cases.extend(refused());
    cases.extend(removal());
    cases
}

fn before_installation() -> Vec<Case> {
    vec![
        case!(alone::controllers_run_and_pods_become_ready),
        case!(alone::an_autoscaler_without_a_metrics_api_says_so),
        case!(preflight::before_it_names_the_owner_and_what_is_missing),
        case!(step deploy::the_base_installs_and_takes_no_api_group),
        case!(deploy::every_manifest_is_accepted_by_client_and_server),
        case!(step lifecycle::replicas_become_ready_with_the_plugins_that_are_there),
        case!(step deploy::the_components_register_the_api_groups),
        case!(preflight::after_it_finds_nothing_and_tells_the_way_back),
    ]
}

fn installed() -> Vec<Case> {
    vec![
        case!(discovery::api_services_are_available),
        case!(discovery::groups_and_resources_are_listed),
        case!(discovery::replicas_answer_byte_for_byte_alike),
        case!(discovery::a_raw_answer_is_proxied_and_not_redirected),
        case!(discovery::objects_are_addressed_in_each_form),
        case!(discovery::health_and_version_answer),
        case!(encodings::answers_come_in_each_encoding),
        case!(peer::the_go_test_adapter_answers_alike),
        case!(clients::custom_metrics_are_read_in_both_versions),
        case!(clients::external_metrics_are_read),
        case!(clients::failures_are_told_apart),
        case!(conformance::a_bad_series_selector_is_the_clients_mistake),
        case!(conformance::a_series_selector_may_say_not_equal),
        case!(conformance::no_failure_asks_the_client_to_wait),
        case!(conformance::the_aggregated_list_is_whole_and_conditional),
        case!(walkthrough::a_metric_that_always_answers_ten),
        case!(walkthrough::an_unlisted_metric_is_served_where_a_claim_covers_it),
        case!(walkthrough::an_unknown_metric_is_not_found),
        case!(access::a_user_without_the_right_is_refused_in_the_words_of_kubernetes),
        case!(access::the_reader_role_grants_just_what_is_needed),
        case!(access::an_anonymous_request_is_refused),
        case!(access::a_bearer_token_is_reviewed),
        case!(access::a_client_certificate_of_the_cluster_is_a_user),
        case!(access::remote_headers_without_the_front_proxy_certificate_are_ignored),
        case!(request_log::each_request_has_a_line_with_its_audit_id),
        case!(trust::rights_that_are_taken_away_end_within_seconds),
        case!(trust::the_token_of_a_deleted_service_account_ends_within_seconds),
        case!(trust::authorities_come_and_go_with_the_config_map),
        case!(trust::while_the_api_server_is_away_who_is_known_is_served_and_nobody_else),
        case!(autoscaling::the_examples_scale_three_deployments_and_follow),
        case!(autoscaling::an_external_name_is_found_in_any_case),
        case!(autoscaling::a_metric_that_vanishes_stops_the_autoscaler_with_a_reason),
        case!(failures::an_autoscaler_says_why_and_its_event_is_counted_up),
        case!(explain::a_failing_autoscaler_is_explained_in_words),
        case!(explain::explaining_takes_the_metrics_right_and_raw_another),
        case!(kinds::a_custom_resource_is_known_when_it_can_be_used_and_forgotten_when_it_is_gone),
        case!(controller::it_scales_on_protobuf_and_on_json),
        case!(reload::a_hundred_updates_arrive_within_a_second),
        case!(reload::a_broken_update_changes_nothing_and_one_event_says_why),
        case!(reload::new_code_replaces_old_code),
        case!(reload::a_deleted_plugin_withdraws_its_metrics),
        case!(reload::a_plugin_comes_in_each_packaging),
        case!(reload::a_storm_of_updates_mixes_nothing_and_goes_never_back),
        case!(reload::killed_between_any_two_steps_it_serves_a_whole_version),
        case!(reload::forty_full_config_maps_are_no_burden_at_the_start),
        case!(resource::taken_over_without_a_plugin_it_says_what_is_missing),
        case!(resource::top_shows_pods_containers_and_nodes),
        case!(clients::usage_of_pods_and_nodes_is_read),
        case!(resource::an_autoscaler_follows_cpu_utilisation),
        case!(resource::a_conflict_and_a_missing_claim_are_told),
        case!(resource::given_back_it_is_nobodys),
        case!(prometheus::usage_comes_out_of_a_real_prometheus),
        case!(lifecycle::namespaces_are_deleted_while_the_adapter_runs),
        case!(lifecycle::a_restart_of_either_replica_goes_unnoticed),
        case!(rollout::a_rolling_update_of_both_replicas_fails_no_request),
        case!(outages::the_api_server_is_killed_and_comes_back),
        case!(outages::etcd_hangs_for_a_while),
        case!(backends::an_http_backend_is_read_with_a_consenting_secret),
        case!(backends::a_tcp_backend_is_spoken_to_by_the_plugin_itself),
        case!(credentials::a_backend_that_checks_certificate_and_token_is_read),
        case!(tenants::a_tenants_plugin_scales_an_autoscaler_of_its_namespace),
        case!(tenants::each_refusal_is_told_in_the_tenants_namespace),
        case!(tenants::a_tightened_policy_withdraws_a_running_plugin),
        case!(values::a_thousand_requests_cost_one_backend_request_a_ttl),
        case!(values::a_dead_backend_is_covered_for_a_time_and_told),
        // The aggregator takes minutes to see a new list: this case waits least when it comes late.
        case!(discovery::api_resources_shows_external_metrics),
        case!(encodings::kubectl_get_prints_an_external_metric),
        case!(openapi::kubectl_explains_a_metric),
        case!(openapi::the_aggregator_merges_the_documents),
        case!(figures::cpu_memory_and_start),
    ]
}

fn refused() -> Vec<Case> {
    vec![
        case!(refusals::garbage),
        case!(refusals::a_core_module),
        case!(refusals::a_component_of_another_world),
        case!(refusals::a_component_of_another_version),
        case!(refusals::a_component_with_foreign_imports),
        case!(refusals::an_unknown_field),
        case!(refusals::settings_that_the_plugin_rejects),
        case!(refusals::an_illegal_path_segment),
        case!(refused_sources::a_wrong_digest),
        case!(refused_sources::a_missing_part),
        case!(refused_sources::two_packagings_at_once),
        case!(refused_sources::no_code_at_all),
        case!(refused_sources::a_gzip_bomb),
        case!(refused_sources::a_zstd_bomb),
        case!(refused_sources::a_config_map_as_large_as_they_come),
        case!(refused_sources::an_unmarked_secret),
        case!(refused_sources::an_origin_outside_egress),
        case!(refused_sources::two_plugins_that_claim_one_metric),
    ]
}

fn removal() -> Vec<Case> {
    vec![case!(deploy::removal_in_order_leaves_nothing_and_namespaces_go)]
}
