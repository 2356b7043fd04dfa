# shellcheck shell=bash
# A server that MONARCH_CQL names: it is asked, and otherwise left alone. Sourced by scripts/cql.
# shellcheck disable=SC2153,SC2154 # server and PORT are those of scripts/cql.

# The contact points, one a line: HOST PORT.
given_points() {
    local point points
    IFS=, read -r -a points <<<"$MONARCH_CQL"
    for point in "${points[@]}"; do
        [[ $point =~ ^\[?([^][]+)\]?:([0-9]+)$ ]] || fail "MONARCH_CQL is $MONARCH_CQL, and must be HOST:PORT, several with commas"
        printf '%s %s\n' "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
    done
}

# Whether they are nodes of our own, since their `up` was evaluated in this shell: each is known here, and either runs
# or has left its address free.
given_is_ours() {
    local host port number found points at
    points=$(given_points) || exit
    while read -r host port; do
        found=false
        for number in $(nodes); do
            at=$(address "$number")
            [ "$host $port" = "$at $PORT" ] || continue
            { "${server}_is_running" "$number" || ! is_taken "$host"; } && found=true
        done
        $found || return
    done <<<"$points"
}

given_up() {
    given_status >&2 || fail "the server that MONARCH_CQL names does not answer; without MONARCH_CQL one of our own is started"
    say "MONARCH_CQL names a server that runs: nothing was started"
    printf 'export MONARCH_CQL=%s\n' "$MONARCH_CQL"
}

given_status() {
    local host port content=0 points
    points=$(given_points) || exit
    while read -r host port; do
        if answers "$host" "$port"; then
            printf '%s:%s  answers\n' "$host" "$port"
        else
            printf '%s:%s  does not answer\n' "$host" "$port" && content=1
        fi
    done <<<"$points"
    return "$content"
}

given_down() { fail "MONARCH_CQL names $MONARCH_CQL, which is not started here: unset it, or stop that server as it was started"; }

given_kill() { given_down; }

given_pause() { given_down; }

given_resume() { given_down; }
