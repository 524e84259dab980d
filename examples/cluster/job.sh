#!/bin/bash
#SBATCH --job-name={{job_name}}
#SBATCH --chdir={{working_directory}}
#SBATCH --output=job.out
#SBATCH --nodes=1
#SBATCH --ntasks={{cores}}
{%- if run_time_max %}
#SBATCH --time={{ (run_time_max + 59) // 60 }}
{%- endif %}
#SBATCH --constraint=skylake
OPTIONS

module load vasp/6.4
SETUP
{{command}}
