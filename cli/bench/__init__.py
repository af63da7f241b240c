"""`tickertape bench`: puts load on a deployment of the user, and checks what every reader gets.

`paced_upstream` answers as a model would, at a known rate, in a process of its own. `tape` and
`findings` are the pure core: what readers of one answer received, and what is wrong with it.
`load` submits and reads; `report` shows the findings.
"""
