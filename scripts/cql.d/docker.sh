# shellcheck shell=bash
# ScyllaDB in Docker. Sourced by scripts/cql.
# shellcheck disable=SC2154 # dir, base and PORT are those of scripts/cql.

docker_image=${MONARCH_CQL_IMAGE:-scylladb/scylla:2025.4}
docker_network=monarch-cql-$base

# The client alone is not enough; an engine that hangs is none.
docker_has_engine() { command -v docker >/dev/null && timeout 10 docker info >/dev/null 2>&1; }

# Container and volume of a node.
docker_name() { printf 'monarch-cql-%s' "$(address "$1")"; }

docker_prepare() {
    docker_has_engine || fail "no Docker engine answers: start it, or choose MONARCH_CQL_SERVER=cassandra"
    docker_has_image || fail "Docker could not fetch $docker_image; MONARCH_CQL_SERVER=cassandra does without"
    docker network inspect "$docker_network" >/dev/null 2>&1 || docker network create "$docker_network" >/dev/null
}

# Whether the image is here, or could be fetched.
docker_has_image() {
    docker image inspect "$docker_image" >/dev/null 2>&1 && return
    say "fetching $docker_image"
    docker pull --quiet "$docker_image" >&2
}

# Nodes speak to each other on the Docker network, and tell clients the address on this machine.
docker_start() {
    local number=$1 name at
    name=$(docker_name "$number")
    at=$(address "$number")
    mkdir -p "$dir/node$number"
    if docker container inspect "$name" >/dev/null 2>&1; then
        docker start "$name" >/dev/null
    else
        docker run --detach --name "$name" --hostname "$name" --network "$docker_network" \
            --publish "$at:$PORT:$PORT" --volume "$name:/var/lib/scylla" "$docker_image" \
            --smp 1 --memory 750M --overprovisioned 1 --developer-mode 1 --broadcast-rpc-address "$at" \
            --seeds "$(docker_name 1)" >/dev/null
    fi || fail "Docker could not start $name"
    say "node $number: starting $docker_image, log by \`docker logs $name\`"
}

docker_is_running() { [ "$(docker container inspect --format '{{.State.Running}}' "$(docker_name "$1")" 2>/dev/null)" = true ]; }

docker_about() { printf 'container %s' "$(docker_name "$1")"; }

docker_tail() { docker logs --tail 40 "$(docker_name "$1")" 2>&1; }

docker_kill() { docker kill --signal KILL "$(docker_name "$1")" >/dev/null; }

docker_pause() { docker pause "$(docker_name "$1")" >/dev/null; }

docker_resume() { docker unpause "$(docker_name "$1")" >/dev/null; }

docker_stop() {
    local number running=()
    for number in $(nodes); do
        ! docker_is_running "$number" || running+=("$(docker_name "$number")")
    done
    [ ${#running[@]} -eq 0 ] || docker stop -t 60 "${running[@]}" >/dev/null
}

docker_wipe() {
    local number name
    for number in $(nodes); do
        name=$(docker_name "$number")
        docker rm --force "$name" >/dev/null 2>&1 || true
        docker volume rm "$name" >/dev/null 2>&1 || true
    done
    docker network rm "$docker_network" >/dev/null 2>&1 || true
}

docker_ring() {
    local number
    for number in $(nodes); do
        docker_is_running "$number" || continue
        timeout 60 docker exec "$(docker_name "$number")" nodetool status
        return
    done
}
