# SPDX-License-Identifier: BSD-3-Clause
# bash completion for pinfold(1)
# shellcheck shell=bash

# The types and keys that `pinfold run -d help` and `-d TYPE,help` list: the first word of each indented line.
_pinfold_listed() {
	"$1" run -d "$2" 2>/dev/null | awk '/^ +[a-z]/ { sub(/=.*/, "", $1); print $1 }'
}

_pinfold_classes() {
	"$1" run --check=help 2>/dev/null | awk '/^ / { print $1 }'
}

_pinfold_device() {
	local cur=$2 type key before
	case $cur in
	*=*)
		# A path, in all likelihood.
		compopt -o filenames -o nospace
		mapfile -t COMPREPLY < <(compgen -f -- "${cur##*=}")
		;;
	*,*)
		type=${cur%%,*} before=${cur%,*} key=${cur##*,}
		compopt -o nospace
		mapfile -t COMPREPLY < <(compgen -P "$before," -S = -W "$(_pinfold_listed "$1" "$type,help")" \
			-- "$key")
		;;
	*)
		compopt -o nospace
		mapfile -t COMPREPLY < <(compgen -W "$(_pinfold_listed "$1" help) help" -- "$cur")
		;;
	esac
}

_pinfold_faults="remove reset link-down link-up lost-irq stuck-queue delay wrong-dma corrupt lost-frame"

_pinfold_ctl() {
	local cur=$1 prev=$2
	case $prev in
	--connect | --control)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	inject)
		compopt -o nospace
		mapfile -t COMPREPLY < <(compgen -W "$_pinfold_faults" -- "$cur")
		;;
	clear) mapfile -t COMPREPLY < <(compgen -W "all" -- "$cur") ;;
	unbind | bind | insert | remove | reset | link-down | link-up | list | status) ;;
	*)
		mapfile -t COMPREPLY < <(compgen -W "list status inject clear unbind bind insert remove reset link-down \
			link-up --connect --control --help" -- "$cur")
		;;
	esac
}

_pinfold() {
	local cur=$2 prev=$3 verb=${COMP_WORDS[1]} i word options
	# "=" divides words: put a device's specification together again.
	for ((i = COMP_CWORD; i > 1; i--)); do
		word=${COMP_WORDS[i]}
		if [[ ${COMP_WORDS[i - 1]} == -d || ${COMP_WORDS[i - 1]} == --device ]]; then
			local spec=
			for ((; i <= COMP_CWORD; i++)); do
				spec+=${COMP_WORDS[i]}
			done
			_pinfold_device "$1" "$spec"
			return
		fi
		[[ $word == = || ${COMP_WORDS[i - 1]} == = ]] || break
	done
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W "run serve ctl help version --help --version" -- "$cur")
		return
	fi
	case $verb in
	run) options="-d --device --fault --control --connect --summary --memlock --strict --p2p --iommu --check --report --trace --suppressions --first --stack-depth --error-exitcode --host-devices --iommufd-test --verbose --help" ;;
	serve) options="-d --device --fault --control --socket --summary --memlock --strict --p2p --iommu --check --report --trace --suppressions --first --stack-depth --error-exitcode --host-devices --iommufd-test --verbose --help" ;;
	ctl)
		_pinfold_ctl "$cur" "$prev"
		return
		;;
	help)
		mapfile -t COMPREPLY < <(compgen -W "run serve ctl help version $(_pinfold_classes "$1")" -- "$cur")
		return
		;;
	*) return ;;
	esac
	case $prev in
	--fault)
		compopt -o nospace
		mapfile -t COMPREPLY < <(compgen -W "$_pinfold_faults help" -- "$cur")
		return
		;;
	--connect | --socket | --control)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--iommu)
		mapfile -t COMPREPLY < <(compgen -W "vtd smmuv3 help" -- "$cur")
		return
		;;
	--memlock)
		mapfile -t COMPREPLY < <(compgen -W "unlimited 64M 1G" -- "$cur")
		return
		;;
	esac
	# Past the options the program's own command line begins.
	for ((i = 2; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--)
			break
			;;
		-d | --device | --fault | --control | --connect | --socket | --memlock | --iommu)
			((i++))
			while [[ ${COMP_WORDS[i + 1]} == = ]]; do
				((i += 2))
			done
			;;
		-*) ;;
		*) break ;;
		esac
	done
	if ((i < COMP_CWORD)) && [[ $verb == run ]]; then
		[[ ${COMP_WORDS[i]} == -- ]] && ((i++))
		if ((i < COMP_CWORD)) && declare -F _command_offset >/dev/null; then
			_command_offset "$i"
			return
		fi
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -c -f -- "$cur")
	elif [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
	elif [[ $verb == run ]]; then
		mapfile -t COMPREPLY < <(compgen -c -- "$cur")
	fi
}
complete -F _pinfold pinfold
