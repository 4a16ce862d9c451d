# Completion for bash: source this file, or put it into /etc/bash_completion.d/.
# wadi itself answers, also with the names of services and revisions.
complete -o nospace -C wadi wadi
