# Completion for fish: put this file into ~/.config/fish/completions/ or
# /usr/share/fish/vendor_completions.d/. wadi itself answers, also with the names of services
# and revisions.
function __complete_wadi
  set -lx COMP_LINE (commandline -cp)
  test -z (commandline -ct); and set COMP_LINE "$COMP_LINE "
  wadi
end
complete -f -c wadi -a "(__complete_wadi)"
