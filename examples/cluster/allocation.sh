#!/bin/bash
#SBATCH --job-name=pescape
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=64
#SBATCH --time=2-00:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue

source ~/venv/bin/activate
# What had finished when the time was over stays: submit again to go on.
exec pescape learn learn.toml
